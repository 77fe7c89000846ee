"""The rules of the first screening, in the order in which their findings are shown.

They read English, and know a name by its capital letters, so they find what a tired writer lets
slip and not what somebody hides. What no rule can know (inflammatory, damaging, dangerous to an
investigation: 389.5(a), (c), (d)) the PIO attests to, and the Commander reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import phonenumbers
from phonenumbers import Leniency, PhoneNumberMatcher, PhoneNumberType

from broadcaster.place import SUFFIX
from broadcaster.policy.addresses import lookalikes, named
from broadcaster.policy.rule import Rule, Severity, Span, fine, in_digits, pattern

HARD, SOFT = Severity.HARD, Severity.SOFT

# --- What several rules know -------------------------------------------------------------------

#: Capitalised words that begin or end no person's name: titles, places, the first word of a
#: sentence. Without them "victim. Avoid Palm Dr" would name somebody.
_NO_NAME = (
    "A|An|All|And|Anyone|As|At|Avoid|Call|Do|Drive|Expect|For|From|If|In|Is|It|Keep|No|Not|On|"
    "Officers?|Our|Please|Police|Stay|Take|The|There|They|This|To|Two|Use|Was|We|When|You|"
    "Fire|Department|Sheriff|Sheriffs|Deputy|Deputies|Captain|Chief|Sergeant|Sgt|Lieutenant|Lt|"
    "Commander|Detective|County|City|State|Hospital|Medical|Center|Centre|School|High|Middle|"
    "Elementary|College|University|Church|Club|Mall|Park|Plaza|Library|Services?|Protective|"
    "Advocates?|Red|Cross|Unit|Units|Highway|Interstate|Route|Exit|North|South|East|West|Desert|"
    "Hot|Springs|Palm|Coachella|Valley|Cathedral|Riverside|California|Monday|Tuesday|Wednesday|"
    "Thursday|Friday|Saturday|Sunday|January|February|March|April|May|June|July|August|September|"
    "October|November|December|PD|PST|PDT|CA|US|EXERCISE|REAL|NOT|SWAT"
)
_STREET = r"(?i:" + SUFFIX.pattern.removeprefix("(?:").removesuffix(r")\.?") + ")"
_NOT = rf"(?!(?:{_NO_NAME})\b)(?!{_STREET}\b)"
_PART = rf"{_NOT}(?:[A-Z]'[A-Z][a-z]+|[A-Z][a-z]+(?:[A-Z][a-z]+)?)(?:-[A-Z][a-z]+){{0,2}}"
_SHOUTED = rf"{_NOT}[A-Z]{{2,}}"


def _name(part: str) -> str:
    """Two or three such words, which may have an initial or `de la` between them."""
    return (
        rf"(?<![\w'-]){part}(?: [A-Z]\.?(?= [A-Z]))?(?: (?:de la|de los|de|del|la|van|von|der))?"
        rf"(?: {part}){{1,2}}\b(?! {_STREET}\b)"
    )


NAME = _name(_PART)
#: A name in capitals too, for beside a word that is not: in a text that shouts all is in capitals.
_ANY_NAME = rf"(?:{NAME}|{_name(_SHOUTED)})"
_MINOR_AGE = r"(?<![\d:/.-])(?:1[0-7]|[1-9])(?![\d:/]|-\d)"
_YEARS_OLD = r"[ -](?:years?|yrs?|months?)[ -]old"

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DATE = (
    rf"(?:\d{{1,2}}[/.-]\d{{1,2}}[/.-](?:\d{{4}}|\d{{2}})|\d{{4}}[/.-]\d{{1,2}}[/.-]\d{{1,2}}|"
    rf"{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}|\d{{1,2}}(?:st|nd|rd|th)? {_MONTH},? \d{{4}})\b"
)

#: A house number and a street. Written small, the number must have three digits, and the street
#: one or two words: "35 feet from palm dr" is no address.
_ADDRESS = (
    r"(?<![\d:.,/$-])\b\d{1,6}(?:-\d{1,4}|[A-Z]| 1/2)?(?! ?(?:block|blk|hundred)\b)"
    r"(?: (?:[NSEW]|[NS][EW]|North|South|East|West)\.?)?"
    r"(?: (?!(?i:and|at|by|from|in|near|on|to|with|block|exit|lanes?)\b)"
    r"(?:[A-Z][\w'.-]*|\d{1,3}(?:st|nd|rd|th)))"
    rf"{{1,4}}? {_STREET}\b|"
    r"(?<![\d:.,/$-])\b\d{3,6}"
    r"(?: (?!(?:and|at|by|from|in|near|on|to|with|of|the|block|blk|hundred|feet|lanes?)\b)[a-z]+)"
    rf"{{1,2}} {_STREET}\b"
)
#: Numbers that are a road's own: "Highway 111 Palm Dr" is a crossing badly written.
_NUMBERED_ROAD = (
    r"\b(?i:highway|hwy|route|rte|sr|sh|cr|fm|us|interstate|ih?|loop|exit|avenue|ave|road|rd)"
    r"[ -]\d{1,4}\b"
)
_FLAT = r",? ?(?i:apt|apartment|unit|suite|ste|space|spc|room|#)\.? ?#? ?[A-Z]?-?\d+[A-Z]?\b"

_POLICE = (
    r"(?:officers?|deput(?:y|ies)|police|swat|k-?9s?|detectives?|negotiators?|"
    r"patrol cars?|(?:entry|tactical) teams?|units?)"
    r"(?: (?:teams?|members?|units?))?"
)

# --- Telephone numbers -------------------------------------------------------------------------

#: What Google's matcher leaves out: a number with another before it ("14:02 760 329 2904"), of an
#: area code that does not exist, or abroad and grouped in another way than it is there.
_SHAPES = [
    re.compile(each)
    for each in (
        r"(?<![\w.+-])(?:(?:\+?1|001)[ .-]?)?(?:\(\d{3}\) ?|\d{3}[ ./-]{1,3})\d{3}[ .-]{1,3}\d{4}"
        r"(?![\d-])",
        r"\+\d[\d ().-]{6,18}\d\b",
        r"(?<![\w./-])(?<!\d )[2-9]\d\d[-.]\d{4}(?![\w-])(?!\.\d)",
    )
]
#: Any number of seven digits or more after a word that says that it is one.
_SAID_TO_BE = re.compile(
    r"\b(?:call|dial|ring|text|tel|telephone|phone|cell|mobile|whatsapp|fax)\b\.?"
    r"(?: (?:number|no\.?|me|us|him|her|them|at|on|is))*[ :]*"
    r"(?!911|988|[2-8]11)(?=(?:[ ().-]*\d){7})(?P<found>\(?\d[\d ().-]{5,17}\d)\b",
    re.I,
)
_A_CASE = re.compile(
    r"(?:case|incident|report|event|log|reference)(?: number| no\.?)? ?#?:? ?$", re.I
)


def _phones(text: str) -> Iterator[Span]:
    """Numbers of any country, but no free-call number: nobody's own telephone has one."""
    found = [
        (match.start, match.end)
        for match in PhoneNumberMatcher(text, "US", leniency=Leniency.STRICT_GROUPING)
    ]
    for shape in _SHAPES:
        found += [
            match.span() for match in shape.finditer(text) if not _within(match.span(), found)
        ]
    for match in _SAID_TO_BE.finditer(text):
        if not _within(span := match.span("found"), found):
            found.append(span)
    for start, end in found:
        if not _free_call(text[start:end]) and not _A_CASE.search(text[:start]):
            yield start, end


#: Words shortly before a number that say that it is for everybody.
_FOR_EVERYBODY = re.compile(
    r"\b(?:hot ?line|help ?line|tip ?line|tips|info|information|questions?|call center|shelters?|"
    r"city|county|school|hospital|red cross|press|media)\b[^.!?;\n]{0,30}$",
    re.I,
)


def _private_phones(text: str) -> Iterator[Span]:
    return (span for span in _phones(text) if not _FOR_EVERYBODY.search(text[: span[0]]))


def _public_phones(text: str) -> Iterator[Span]:
    return (span for span in _phones(text) if _FOR_EVERYBODY.search(text[: span[0]]))


def _within(span: Span, others: list[Span]) -> bool:
    return any(start < span[1] and span[0] < end for start, end in others)


def _free_call(number: str) -> bool:
    try:
        parsed = phonenumbers.parse(number, "US")
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.number_type(parsed) == PhoneNumberType.TOLL_FREE


# --- Minors in custody -------------------------------------------------------------------------

_minors = pattern(
    rf"\b{_MINOR_AGE}{_YEARS_OLD}(?:,? (?:[a-z]+)){{0,3}}?,? {_ANY_NAME}",
    rf"{NAME},? (?:\(?(?:aged? )?{_MINOR_AGE}(?:{_YEARS_OLD})?\)?(?=[,.;)]|$| (?:was|is|has|of)\b)"
    rf"|an? {_MINOR_AGE}{_YEARS_OLD})",
    r"\b(?:[Jj]uvenile|minor|[Tt]een(?:ager)?|[Bb]oy|[Gg]irl|[Cc]hild|[Tt]oddler|[Ii]nfant)"
    r"(?:[,:]| (?:suspect|victim|male|female|named|called|is|was|identified|as))*,? "
    rf"{_ANY_NAME}",
)
_CUSTODY = re.compile(
    r"\b(?:arrest(?:ed)?|in custody|detained|booked|charged|juvenile hall|suspects?)\b", re.I
)


def _minors_in_custody(text: str) -> Iterator[Span]:
    """Minors who can be known, in a sentence that speaks of custody."""
    for start, end in _minors(text):
        begins = max(text.rfind(mark, 0, start) for mark in ".!?\n") + 1
        ends = min((at for mark in ".!?\n" if (at := text.find(mark, end)) >= 0), default=len(text))
        if _CUSTODY.search(text, begins, ends):
            yield start, end


def _blank(text: str) -> Iterator[Span]:
    if not text.strip():
        yield (0, 0)


#: No clause of 389.5 asks for the five elements: the Warning Response Model does.
_FIVE_ELEMENTS = "five elements of a warning (Mileti & Sorensen 1990)"

# --- The rules ---------------------------------------------------------------------------------

RULES: tuple[Rule, ...] = (
    Rule(
        id="phone-number",
        title="Phone number",
        clause="389.5(b)",
        severity=HARD,
        why="A telephone number can be a caller's or a victim's, and reaches them from everywhere.",
        do="Take it out. Numbers in the department's contact setting, free-call numbers and 911 "
        "may stay.",
        find=in_digits(_private_phones),
        finds=(
            "Call [760-329-2904] if you saw it.",
            "Her mother: [(760) 555-0134].",
            "As of 14:02 [760 329 2904] answers.",
            "Text [+52 686 123 4567].",
            "He left [7603292904] with dispatch.",
            "Ring [329-2904], or cell: [329 2904], or [001-518-640-0854].",
            "Abroad: [+447700 921 916].",
            "Ring [７６０-３２９-２９０４].",
            "Ring [76O-329-29O4].",
        ),
        passes=(
            "Call 911, or 988 for the lifeline.",
            "Red Cross: 1-800-733-2767.",
            "Call 911. 1200 block of Oak St. Call 911 at 14:02.",
            "Highway 111 and Highway 62 are closed.",
            "As of 14:02 PST; next update by 14:17. Nov 22, 2026.",
            "Case 2026-004417. Incident 2026004417.",
            "I-10 at exit 117, 1200-1400 blocks of Oak St, ZIP 92240-1234.",
        ),
    ),
    Rule(
        id="public-number",
        title="Public phone number",
        clause="389.5(b)",
        severity=SOFT,
        why="A wrong number sends frightened people to a stranger.",
        do="Ring it, then say in the reason whose it is; or leave it out.",
        find=in_digits(_public_phones),
        finds=(
            "Shelter information: [951-940-6900].",
            "Questions? No. City hall, questions: [760-329-6448].",
        ),
        passes=(
            "Hotline: 800-733-2767.",
            "The shelter is full. Her mother: 760-329-2904.",
        ),
    ),
    Rule(
        id="social-security-number",
        title="Social Security number",
        clause="389.5(b)",
        severity=HARD,
        why="A Social Security number opens a person's bank account to whoever reads it.",
        do="Take it out.",
        find=in_digits(
            pattern(
                r"(?<![\w.-])\d{3}([ -])\d{2}\1\d{4}(?![\w-])",
                r"\b(?:ssn|social security(?: number| no\.?)?)\b[ :#]*(?:is )?(?P<found>\d{9})\b",
                flags=re.I,
            )
        ),
        finds=(
            "His number is [123-45-6789].",
            "[123 45 6789] was on the card.",
            "SSN: [123456789]",
            "It is [١٢٣-٤٥-٦٧٨٩].",
        ),
        passes=(
            "ZIP 92240-1234.",
            "Case 2026-004417.",
            "The Social Security office on Palm Dr is closed.",
            "11-22-2026 at 14:02, 10.121.97.2481.",
        ),
    ),
    Rule(
        id="birth-date",
        title="Birth date",
        clause="389.5(b)",
        severity=HARD,
        why="A birth date with a name is enough to pass for somebody.",
        do="Give the age in years instead.",
        find=pattern(
            rf"\b(?:born(?: on)?|d\.?o\.?b\.?|date of birth|birth ?date|birthday)\b"
            rf"[ :,]*(?:is |was )?(?:on )?{_DATE}",
            flags=re.I,
        ),
        finds=(
            "Suspect [DOB 03/04/1990], last seen on Palm Dr.",
            "She was [born on March 4, 1990] in Indio.",
            "[Date of birth: 1990-03-04]",
        ),
        passes=(
            "As of Nov 22, 2026.",
            "The road closes 11/22/2026 and opens 11/23/2026.",
            "Borne by wind since 03/04/2026.",
            "She is 36 years old.",
        ),
    ),
    Rule(
        id="home-address",
        title="Somebody's home",
        clause="389.5(b)",
        severity=HARD,
        why="The exact address of somebody's home leads people to their door.",
        do="Say the hundred block, or the nearest crossing.",
        find=pattern(
            fine(_NUMBERED_ROAD),
            rf"(?:{_ADDRESS}){_FLAT}",
            r"\b(?i:home|house|residence|apartment|lives?|living|resid(?:es|ing)|dwelling)"
            rf"(?: (?!\d)[\w']+){{0,4}}[,:]? (?P<found>{_ADDRESS})",
            rf"(?P<found>{_ADDRESS})"
            r"(?=,? (?i:home|house|residence|where (?:he|she|they) lives?)\b)",
        ),
        finds=(
            "The suspect lives at [66100 Pierson Blvd].",
            "A fire at a home on [12-345 Palm Dr], now out.",
            "The residence of the family at [1234 N Oak St].",
            "Smoke from [1234 Oak St, Apt 5].",
            "The victim's home: [1234 Oak St].",
        ),
        passes=(
            "A home in the 1200 block of Oak St is on fire.",
            "Leave your house by 14:00. Palm Dr is open.",
            "Homes on Highway 111 and Palm Dr are safe.",
            "Shelter at the high school, 65850 Pierson Blvd.",
        ),
    ),
    Rule(
        id="house-number",
        title="Exact address",
        clause="389.5(b)",
        severity=SOFT,
        why="An exact address points at whoever lives or works there.",
        do="Say the hundred block or the crossing, or give the reason: a shelter, a school.",
        find=pattern(fine(_NUMBERED_ROAD), _ADDRESS),
        finds=(
            "Shelter at the high school, [65850 Pierson Blvd].",
            "Stay away from [1234 oak st].",
            "Seen near [14 W 5th Street] at noon.",
        ),
        passes=(
            "Gas leak, 66100 block of Pierson Blvd.",
            "Palm Dr and Pierson Blvd.",
            "2 lanes of Palm Dr are closed from 14:02. Pierson Blvd is open.",
            "Stay 35 feet from lines on Oak St. As of 14:02 Palm Dr is open.",
            "Take Highway 111 to Palm Dr, I-10 Exit 117 Palm Dr, or IH 35 N Access Rd.",
        ),
    ),
    Rule(
        id="licence-plate",
        title="Licence plate",
        clause="389.5(b)",
        severity=SOFT,
        why="A plate names its owner, and tells them that they are looked for.",
        do="Describe the vehicle, or give the reason: an AMBER alert, a wanted vehicle.",
        find=pattern(
            r"(?<![\w-])(?:\d[A-Za-z]{3}\d{3}|\d([ -])[A-Z]{3}\1\d{3})(?![\w-])",
            r"\b(?i:(?:licen[cs]e )?plates?"
            r"(?: numbers?| no\.?| #| is| of| reads?|,|:| CA| California)*)[ #]*"
            r"(?P<found>(?=[A-Z -]*\d)[A-Z0-9](?:[ -]?[A-Z0-9]){3,7})\b",
        ),
        finds=(
            "Look for a silver Honda, [8ABC123].",
            "White van, plate [6 LMN 482], northbound.",
            "License plate: [ABC-1234]. Call 911.",
        ),
        passes=(
            "Plate ending in 482.",
            "Exit 117 at 14:02 PST, Hwy 111.",
            "1 and 250 people left.",
        ),
    ),
    Rule(
        id="juvenile-custody",
        title="Minor in custody",
        clause="389.5(b)",
        severity=HARD,
        why="A minor who is suspected or held is named by a court alone (W&I 827, 828).",
        do="Leave out the name: “a juvenile is in custody”.",
        find=_minors_in_custody,
        finds=(
            "[16-year-old Daniel Reyes] was arrested.",
            "In custody: [Daniel Reyes, 16].",
            "The [juvenile suspect Daniel Reyes] is known to us.",
        ),
        passes=(
            "A juvenile is in custody.",
            "A 16-year-old boy was arrested on Palm Dr.",
            "Daniel Reyes, 36, was arrested.",
            "Missing: Maria Lopez, 7. Call 911.",
        ),
    ),
    Rule(
        id="juvenile",
        title="Minor who can be known",
        clause="389.5(b)",
        severity=SOFT,
        why="A name beside an age under 18 makes a child known to everybody, and for ever.",
        do="Say the age alone, or give the reason: missing, or in danger.",
        find=_minors,
        finds=(
            "Missing: [Maria Lopez, 7].",
            "[7-year-old girl, Maria Lopez], in a red dress.",
            "The [child is María López].",
            "[Maria Lopez, a 7-year-old] in a red dress.",
        ),
        passes=(
            "A 7-year-old girl is missing.",
            "Two juveniles were hurt.",
            "Palm Springs, 7 miles. Maria Lopez, 37, spoke.",
            "Boys & Girls Club, Child Protective Services.",
            "As of Nov 7, 14:02. Minor Flooding Expected.",
            "MINOR FLOODING ALONG THE WASH UNTIL THURSDAY AUGUST 16.",
        ),
    ),
    Rule(
        id="victim",
        title="Name of a victim",
        clause="389.5(b)",
        severity=HARD,
        why="A victim's name is confidential, and their family hears it from us first "
        "(Cal. Const. I §28(b)).",
        do="Leave out the name: “one person was hurt”.",
        find=pattern(
            r"\b(?:[Vv]ictims?|[Dd]eceased|[Dd]ecedent)"
            r"(?:[,:]| (?:is|was|are|were|has been|have been|identified|named|as))*,? "
            rf"(?P<found>{_ANY_NAME})",
            rf"(?P<found>{_ANY_NAME})(?:, (?:\d{{1,3}}|of [A-Z][\w ]{{2,30}}),)? "
            r"(?:was|were|is|has been) (?:\w+ly )?(?:killed|stabbed|murdered|raped|assaulted|"
            r"wounded|injured|hurt|shot(?! at)|found dead|pronounced dead)\b",
            rf"(?P<found>{_ANY_NAME})(?:, \d{{1,3}},)? (?:died|is dead)\b",
            r"\b(?:[Bb]ody|[Rr]emains|(?:person|man|woman|child) (?:killed|found dead))\b"
            rf"[^.!?\n]{{0,60}}? (?:is|as|of) (?P<found>{_ANY_NAME})",
        ),
        finds=(
            "The victim is [Jane Roe].",
            "Victim identified as [Jane M. Roe], 44.",
            "[Ana de la Cruz], 31, was shot.",
            "The victim, [JANE ROE], is safe.",
            "The body found near Palm Dr is that of [Jane Roe].",
        ),
        passes=(
            "One victim was taken to Desert Regional Medical Center.",
            "Victim Services, Palm Dr, is open.",
            "The victims. Avoid Palm Dr.",
            "Two people were killed. Palm Springs was shaken.",
            "Victims were moved to Mission Springs Park.",
        ),
    ),
    Rule(
        id="criminal-history",
        title="Criminal history",
        clause="389.5(b)",
        severity=HARD,
        why="Criminal history, parole and probation are kept from the public by state law "
        "(Penal Code 13300).",
        do="Say what the person is sought for now.",
        find=pattern(
            r"\bparolees?\b|\bprobationers?\b|\bon (?:\w+ )?(?:parole|probation)\b",
            r"\bpriors\b|\bprior (?:\w+ )?(?:arrests?|convictions?|offen[cs]es?|felon(?:y|ies))\b",
            r"\bcriminal (?:history|record|past)\b|\brap sheet\b|\bpreviously arrested\b",
            r"\b(?:previously )?convicted\b|\bex-?con(?:vict)?s?\b|\bfelons?\b",
            r"\b(?:registered )?sex offenders?\b|\bsex registrants?\b",
            flags=re.I,
        ),
        finds=(
            "He is a [parolee].",
            "The suspect is [on active probation].",
            "She has [prior drug convictions].",
            "A [convicted] man and [registered sex offender].",
        ),
        passes=(
            "The Probation Department on Palm Dr is closed.",
            "Prior to 14:00, avoid Oak St.",
            "Search for an escaped person.",
        ),
    ),
    Rule(
        id="medical",
        title="Medical detail",
        clause="389.5(b)",
        severity=SOFT,
        why="An illness, a crisis or a drug is a person's own affair (45 CFR 164.512(f)).",
        do="Say that people were hurt, or give the reason: someone missing who needs medicine.",
        find=pattern(
            fine(r"(?i:\bsuicide (?:(?:&|and) crisis )?(?:lifeline|prevention|hotline)\b)"),
            r"\bHIV\b|\bAIDS\b",
            r"(?i:\b(?:overdos\w*|suicid\w+|5150|schizophreni\w+|bipolar|dementia|alzheimer\w*|autis\w+|"
            r"diabet\w+|epilep\w+|cancer|psychotic|pregnan\w+|"
            r"mental(?:ly)? (?:ill\w*|health|disab\w+)|mental health crisis|diagnos\w+|"
            r"tested positive|off (?:his|her|their) medication|intoxicated|blood alcohol|"
            r"under the influence)\b)",
        ),
        finds=(
            "The man is [schizophrenic] and armed.",
            "Maria has [dementia] and is on foot.",
            "It was an [overdose].",
        ),
        passes=(
            "Two people were taken to hospital with injuries.",
            "Call 988, the Suicide & Crisis Lifeline.",
            "A tropical depression brings rain.",
            "First aid and hearing aids are at the shelter.",
        ),
    ),
    Rule(
        id="tactical-plan",
        title="Tactical plan",
        clause="389.5(e)",
        severity=HARD,
        why="What officers are about to do, the person they face reads too.",
        do="Say that police are there, and what people should do.",
        find=pattern(
            r"\b(?:entry|breach|assault|arrest) teams?\b|\b(?:police|swat|our) snipers?\b",
            r"\bsnipers? (?:are |is )?in position\b|\bflash[ -]?bangs?\b|\bno[ -]knock\b",
            r"\bundercover\b|\bplain[ -]?clothes\b|\bunmarked (?:cars?|vehicles?|units?)\b",
            rf"\b(?:{_POLICE}|we|they)(?: (?:will|are|is|about|going|plan|planning|prepare|"
            r"preparing|to|soon|now)){1,5} "
            r"(?:enter|breach|storm|raid|rush|go in|move in|ambush|take down)\b",
            r"\bserv(?:e|ing) (?:a|the|an) (?:\w+ )?warrants?\b",
            flags=re.I,
        ),
        finds=(
            "[Officers will enter] at noon.",
            "[SWAT is about to breach] the door.",
            "The [entry team] is here.",
            "Detectives are [serving a search warrant].",
        ),
        passes=(
            "A sniper is firing at cars. Stay inside.",
            "Officers will go door to door. Crews will enter the park tomorrow.",
            "They will reopen Palm Dr.",
            "Police are searching the neighborhood.",
        ),
    ),
    Rule(
        id="unit-position",
        title="Where officers are",
        clause="389.5(e)",
        severity=HARD,
        why="Where officers stand, the person they face reads too.",
        do="Say that police are in the area.",
        find=pattern(
            fine(r"\bunits? (?:inside|behind) (?:the |this )?(?:building|complex|apartments?)\b"),
            rf"\b{_POLICE}(?: (?:are|is|now|currently|being|have|has|been|will|be|remains?|stands?|"
            r"waits?|waiting|set|up|close|quietly))* "
            r"(?:staged|staging|positioned|stationed|hiding|hidden|concealed|in position|"
            r"taking (?:up )?positions?|behind|inside|surround(?:ing|ed)?|across from|"
            r"on (?:the |a )?(?:roof\w*|balcon\w+)|(?:at|in) the (?:rear|back|alley)|"
            r"(?:on|at) the (?:north|south|east|west|back|rear|front) (?:side|door|entrance)s?)"
            r"(?: (?:of|the|a|an|at|on|in|and)\b)*(?: (?!\d)[\w'-]+)?",
            flags=re.I,
        ),
        finds=(
            "[Officers are behind the school].",
            "[SWAT team is staged at the church] on Palm Dr.",
            "[Deputies on the roof].",
            "[Units surrounding the house].",
        ),
        passes=(
            "Officers are in the area. Stay inside.",
            "Police: stay inside. Units stay out.",
            "Follow officers' directions. Officers are directing traffic at Palm Dr.",
            "Police ask you to stay inside. Officers were staged there until noon.",
            "Sniper inside the mall. Leave units inside the building. The chess team is inside.",
        ),
    ),
    Rule(
        id="police-means",
        title="Units and means",
        clause="389.5(e)",
        severity=SOFT,
        why="Which units and means are there shows how the incident is worked.",
        do="Say “police”, or give the reason why the public needs to know.",
        find=pattern(
            r"\bSWAT\b|\bK-?9s?\b",
            r"(?i:\bnegotiators?\b|\btactical (?:teams?|units?)\b|\bbearcat\b|\btear gas\b)",
            r"(?i:\barmou?red (?:vehicles?|trucks?|cars?)\b|\b(?:police|our) drones?\b)",
            r"\b(?i:\d{1,2}[ -]?(?:adam|boy|charles|david|edward|frank|george|henry|ida|john|king|"
            r"lincoln|mary|nora|ocean|paul|queen|robert|sam|tom|union|victor|william|young|zebra))"
            r"[ -]?\d{1,3}\b",
            r"\b(?i:unit) \d{1,2}[A-Z]\d{1,3}\b",
        ),
        finds=(
            "[SWAT] and [negotiators] have arrived.",
            "A [K-9] is searching.",
            "[2-Adam-12] and [Unit 4A12] are there.",
        ),
        passes=(
            "Do not fly drones here.",
            "Fire engines and ambulances are on Palm Dr.",
            "Officers on scene since 14:02. Swat at nothing.",
        ),
    ),
    Rule(
        id="profanity",
        title="Abusive word",
        clause="389.5(a)",
        severity=HARD,
        why="The department's pages hold no abusive or explicit words, quoted ones neither.",
        do="Say it in other words.",
        find=pattern(
            r"\b(?:mother)?f[u*@]c?k\w*|\b(?:bull)?sh[i1!*]t(?:s|ty|head)?\b|\bassholes?\b|\bb[i1!*]tch\w*",
            r"\bcunts?\b|\bcocksuckers?\b|\bdickheads?\b|\bbastards?\b|\bwhores?\b|\bsluts?\b",
            r"\bn[i1!*]gg(?:er|a)s?\b|\bfag(?:got)?s?\b|\bkikes?\b|\bwetbacks?\b|\bbeaners?\b|"
            r"\bgooks?\b|\bretard(?:s|ed)?\b|\btowelheads?\b",
            flags=re.I,
        ),
        finds=(
            "Those [bastards] did it.",
            "This is [bullshit].",
            "He shouted “[f*ck] you”.",
            "A [Shіt] word in Cyrillic letters.",
        ),
        passes=(
            "Fire retardant dropped at Scunthorpe Dr. Shitake Cafe.",
            "Dick Smith St, Cockrell Ave.",
            "Assess the damage.",
        ),
    ),
    Rule(
        id="lookalike-address",
        title="Address that is not what it looks like",
        clause="Unicode UTS 39",
        severity=HARD,
        why="Whoever opens it comes to a stranger's page, or cannot tell whose it is.",
        do="Type it as its owner writes it, letter by letter, or leave it out.",
        find=lookalikes,
        named=named,
        finds=(
            "See https://[pаypal.com]/gas.",
            "[аррӏе.com], https://[xn--pypal-4ve.com]",
            "https://[police.gov@evil.example]/gas",
        ),
        passes=(
            "https://policía.example/gas",
            "https://полиция.рф, pio@police.gov",
            "В доме.Не выходите",
        ),
    ),
    Rule(
        id="missing-hazard-or-place",
        title="Missing part",
        clause=_FIVE_ELEMENTS,
        severity=HARD,
        why="A warning that does not say what it is or where frightens people who are safe.",
        do="Fill it in: the kind of danger, and a street, a block or a crossing.",
        find=_blank,
        finds=("[]",),
        passes=("Gas leak",),
        fields=("hazard", "place"),
    ),
    Rule(
        id="missing-element",
        title="Missing part",
        clause=_FIVE_ELEMENTS,
        severity=SOFT,
        why="People act on a warning that says who speaks, what it is, where, what to do and when.",
        do="Fill it in, or give the reason why it cannot be said yet.",
        find=_blank,
        finds=("[]",),
        passes=("Stay inside.",),
        fields=("source", "guidance", "time"),
    ),
)

BY_ID = {rule.id: rule for rule in RULES}
