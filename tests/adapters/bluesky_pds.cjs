// Runs the reference PDS and its directory of identities on free ports of 127.0.0.1, until its input ends:
//
//     node bluesky_pds.cjs FOLDER-WITH-NODE_MODULES FOLDER-FOR-DATA
//
// The first line of its output is {"url": …, "secret": …}, the secret that signs sessions; accounts are made by com.atproto.server.createAccount.
const crypto = require('node:crypto')
const http = require('node:http')
const { createRequire } = require('node:module')
const net = require('node:net')

const [packages, data] = process.argv.slice(2)
const from = createRequire(`${packages}/node_modules/`)

// Both listen on every address of the machine where nobody says otherwise.
const listen = http.Server.prototype.listen
http.Server.prototype.listen = function (port) {
  return listen.call(this, port, '127.0.0.1')
}

const freePort = () =>
  new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })

async function main() {
  const plc = from('@did-plc/server')
  const pds = from('@atproto/pds')
  const directory = await freePort()
  await plc.PlcServer.create({ db: plc.Database.mock(), port: directory }).start()

  const port = await freePort()
  const secret = crypto.randomBytes(16).toString('hex')
  const env = {
    devMode: true,
    port,
    hostname: 'localhost',
    dataDirectory: data,
    blobstoreDiskLocation: `${data}/blobs`,
    didPlcUrl: `http://127.0.0.1:${directory}`,
    serviceHandleDomains: ['.test'],
    inviteRequired: false,
    rateLimitsEnabled: true,
    jwtSecret: secret,
    adminPassword: crypto.randomBytes(16).toString('hex'),
    plcRotationKeyK256PrivateKeyHex: crypto.randomBytes(32).toString('hex'),
  }
  const server = await pds.PDS.create(pds.envToCfg(env), pds.envToSecrets(env))
  await server.start()
  console.log(JSON.stringify({ url: `http://127.0.0.1:${port}`, secret }))
}

process.stdin.on('end', () => process.exit()).resume()
main()
