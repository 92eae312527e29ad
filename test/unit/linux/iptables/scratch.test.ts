import { expect, it } from '@jest/globals'
import { readFileSync } from 'node:fs'
import { World } from '../../../../src/linux/world.ts'
import { iptablesRestore } from '../../../../src/linux/tools/iptables.ts'
it('errors', () => {
  const rows = JSON.parse(readFileSync('/tmp/ipt/err.json', 'utf8')) as any[]
  for (const row of rows) {
    const ns = new World({packets: 16, largePackets: 1}).addNetns('a')
    const r = iptablesRestore(ns, row.text)
    const ours = r.errors.length ? `${r.errors[0]!.line}| ${r.errors[0]!.message.replace(/\n+$/, '')}` : 'OK'
    const real = row.status === 0 ? 'OK' : row.stderr
    const m = /Error occurred at line: (\d+)/.exec(real)
    const rl = m ? m[1] : /line (\d+)/.exec(real)?.[1]
    const first = real.replace(/\n*Error occurred[^]*/, '').replace(/\n+$/, '')
    const want = row.status === 0 ? 'OK' : `${rl}| ${first}`
    const same = want === ours || (/line \d+ failed$/.test(want) && ours.startsWith(want))
    if (!same) console.log(`${JSON.stringify(row.text)}\n ours ${ours}\n real ${want}`)
  }
})
