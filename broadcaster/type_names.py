"""The common incident types of EIDO in words a person reads at a glance.

The codes are those of NENA-STA-021.1b-2022 (APCO 2.103.2-2019); the registry's own descriptions
are written for dispatchers, so the words here are shortened from them.
"""

from __future__ import annotations

_TABLE = """
911H 911 hang-up
911OPN 911 open line
ABDOM Abdominal pain
ABDUCTF Abduction by family
ABDUCTNF Abduction, not by family
ABUSE Abuse
ACCIND Industrial accident
ACTSHOOT Active shooter
ADMIN Administrative
AIR Aircraft incident
AIRINC Airport incident
ALIEN Immigration
ALLERGIC Allergic reaction
ALMA Audible alarm
ALMB Commercial alarm
ALMH Panic or hold-up alarm
ALMR Residential alarm
ALRBA Burglar alarm, audible
ALRBOX Box alarm
ALRBS Burglar alarm, silent
ALRCO Carbon monoxide alarm
ALRCO2 Fire alarm, CO2
ALRDEFIB Implanted defibrillator alarm
ALRF Fire alarm
ALRGAS Fire alarm, gas
ALRHEAT Fire alarm, heat
ALRKPAD Fire alarm, keypad
ALRMED Medical alarm
ALRNGAS Fire alarm, natural gas
ALRPANA Panic alarm, audible
ALRPANS Panic alarm, silent
ALRPROPN Fire alarm, propane
ALRPULL Fire alarm, pull station
ALRROBA Robbery alarm, audible
ALRROBS Robbery alarm, silent
ALRU Alarm unknown
ALRVEH Vehicle alarm
ALRWTR Fire alarm, water flow
ALS Advanced life support
ANIMAL Animal
ASSAULT Assault
ASSIST Assist to another agency
ATL Attempt to locate
BACK Back pain
BARICADE Barricaded person
BIO Biological threat
BITE Animal bite or attack
BLDCLPSE Building collapse
BLEEDING Bleeding
BLS Basic life support
BOMB Bomb threat
BRGCLPSE Bridge collapse
BURGLARY Burglary
BURN Burns
CARDIAC Cardiac event
CARJACK Carjacking
CDX Civil dispute
CHEMICAL Chemical incident
CHESPAIN Chest pain, not cardiac
CHOKE Choking
CITASST Public assistance
CIVDIS Civil disobedience
CIVIL Civil matter
CNTRFT Counterfeit money
COURT Court order service
CRIMPS Criminal impersonation
CRIMTRAF Criminal traffic
CRWD Large, rowdy crowd
CU1 Civil unrest, violent
CU2 Civil unrest, not violent
CU3 Civil unrest, information
CURFEW Curfew violation
CUST Custodial issue
DEATH Death
DEATHNTF Death notification
DIABETIC Diabetic
DISORD Disorderly conduct
DISVEH Disabled vehicle
DMPX Illegal dumping in progress
DROWN Drowning
DRUGPAR Drug paraphernalia
DRUGS Drugs
DUI Driving under the influence
DVA Domestic violence
DVNA Domestic, not violent
EDP Emotional disturbance
ELEC Electrocution or lightning strike
ELECHZD Electrical hazard
ELUDING Eluding police
ENTRAP Entrapment
ESCAPE Escape
EXPLOS Explosion
EXPOSURE Heat or cold exposure
EXTORT Extortion
EYE Eye injury
FAIRC Aircraft fire
FALL Fall
FAM Family offense
FAPT Apartment fire
FARSON Arson
FAS Felonious assault, no suspect
FASX Felonious assault, suspect in area
FBRUSH Brush fire
FELEC Electrical fire
FFUEL Fuel fire
FIGHT Fight
FIREWRKS Fireworks
FMARINE Marine fire
FORCENTR Forcible entry
FOTHER Fire, other
FRAUD Fraud
FREPORT Fire report only
FSMOKE Smoke investigation
FSTRU Building fire
FTRAILER Trailer fire
FTRAIN Train fire
FTRASH Trash fire
FTRUCK Large vehicle fire
FUNK Fire, unknown
FVEH Vehicle fire
GASLEAK Gas leak
GASLEAKI Gas leak inside
GASLEAKO Gas leak outside
HARR Harassment
HATE Hate crime
HAZ Natural hazard
HAZMAT Hazardous materials
HEADACHE Headache
HEMRG Hemorrhage
HLP1 Responder in trouble
HLP2 Responder help, not an emergency
HOLD Suspect held by citizen or security
HOMICIDE Homicide
HOSTAGE Hostage taking
IMP Impersonation
INDECENT Indecent exposure
INFO Information
INTERNET Internet crime
INTOX Intoxicated person
INVEST Investigation
JUV Juvenile offense
LARCENY Larceny
LIQUOR Liquor violation
MAJORINC Major incident
MAYDAY Mayday
MCI Mass casualty incident
MISBOATR Missing boater
MISCON Misconduct
MNTL Mental health, not violent
MTLV Mental health, violent
MVA Vehicle accident, no injury
MVAHR Hit and run
MVAINJY Vehicle accident with injury
MVAUNK Vehicle accident, injuries unknown
MVCP Collision on private property
NCIC NCIC hit
NCRASLTWF Assault with weapon
NCRCPRF Cardiopulmonary resuscitation
NCRELEV Elevator rescue
NCRFACTR Field blood infusion
NCRMUAIDF Mutual aid fire
NCRNDE Local notification
NCRNONE No code found
NCRTASKFORCE Task force
NCRTESTF Test call, fire
NCRTRANS Transportation incident
NEGLECT Neglect
NOISE Noise
NONEMERG Not an emergency
OD Overdose
ODOR Odor investigation
OPEN Unsecured building
ORDERV Order violation
PANDEMIC Disease outbreak
PARKING Parking
PERFND Found person
PERMISS Missing person
PERSUSP Suspicious person
PERUNCON Unconscious person
PERWANT Wanted person
PHANDLE Panhandling
PREG Pregnancy or childbirth
PROPFND Found property
PROPLOST Lost property
PROPSTLN Stolen property
PROW Prowler
PUBWKS Public works or utilities
PURSUIT Pursuit
RADIAT Radiation
RECKDRV Reckless driver
REPO Repossession
RESCUE Rescue
RESIST Resisting arrest
RESP Difficulty breathing
RESPARR Respiratory arrest
ROBBERY Robbery
RUNAWAY Runaway
SAR Search and rescue
SCH School offense
SCRM Person screaming
SEIZURE Seizure
SEXOFFNS Sex offense
SHOOT Shooting
SHOPLIFT Shoplifting
SICK Sick person
SLMP Person slumped in vehicle
SMOKING Smoking
SOL Solicitors
STABBING Stabbing
STDBY Standby
STKX Stalking, suspect on scene
STROKE Stroke
SUBJSTP Subject stop
SUICIDE Suicide
SUICTHRT Suicide attempt or threat
SUSP Suspicious incident
TERROR Terrorist activity
THAZ Traffic hazard
THREATS Threats
TOW Tow
TRAIN Train incident
TRAINDRL Train derailment
TRANSFER Transfer between facilities
TRAUMA Traumatic injury
TRAUMAP Penetrating trauma
TRESPASS Trespass
TROUBLE Trouble, unknown type
TRUANT Truant
TSTOP Traffic stop
VAG Vagrancy
VANDAL Vandalism
VEHABND Abandoned vehicle
VEHASST Motorist assist
VEHLOCK Vehicle lockout
VEHREC Recovered vehicle
VEHSTLN Stolen vehicle
VEHSUSP Suspicious vehicle
VICE Vice
WARRANT Search warrant
WATER Water incident
WEAPON Weapon violation
WELFARE Welfare check
WILDLIFE Wildlife violations
WIRES Power lines down
XTRICATE Extrication
"""

NAMES: dict[str, str] = dict(line.split(" ", 1) for line in _TABLE.strip().splitlines())


def type_in_words(code: str) -> str:
    """A type's name; the code itself where the registry has no such type."""
    return NAMES.get(code, code)
