/**
 * Records which location real nginx takes: test/fixtures/ingress/nginx-locations.json (nginx 1.22).
 *
 *     node test/support/recorders/nginx-locations.ts      (Node >= 22, nginx in PATH)
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { nginxLocations, PATH_SETS, URIS } from '../nginx-paths.ts'

const PORT = 18081

async function get(uri: string): Promise<string> {
  const socket = connect(PORT, '127.0.0.1')
  let text = ''
  socket.on('data', (d) => {
    text += d.toString()
  })
  socket.write(`GET ${uri} HTTP/1.0\r\nHost: h\r\n\r\n`)
  await new Promise((resolve) => socket.on('close', resolve))
  return text.startsWith('HTTP/1.1 404') ? '404' : text.slice(text.indexOf('\r\n\r\n') + 4)
}

const out: { [set: string]: { [uri: string]: string } } = {}
for (const name of Object.keys(PATH_SETS)) {
  const dir = mkdtempSync(join(tmpdir(), 'nginx-'))
  const server = `server { listen 127.0.0.1:${PORT}; root /nonexistent; ${nginxLocations(name)} }`
  writeFileSync(
    join(dir, 'c'),
    `daemon off; pid ${dir}/pid; error_log stderr; events {} http { access_log off; ${server} }`,
  )
  const child = spawn('nginx', ['-c', join(dir, 'c')], { stdio: ['ignore', 'ignore', 'ignore'] })
  await sleep(700)
  const rows: { [uri: string]: string } = {}
  for (const uri of URIS) rows[uri] = await get(uri)
  out[name] = rows
  child.kill()
  await sleep(200)
}
writeFileSync('test/fixtures/ingress/nginx-locations.json', `${JSON.stringify(out, null, 1)}\n`)
