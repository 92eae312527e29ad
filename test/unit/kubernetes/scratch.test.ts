import { it } from '@jest/globals'
import { writeFileSync } from 'node:fs'
import { loadInputs, loadText } from '../../../src/kubernetes/load.ts'
import { formatDiagnostics } from '../../../src/diagnostics/diagnostic.ts'
const time = (name: string, f: () => ReturnType<typeof loadText>) => {
  const a = performance.now()
  let r
  try { r = f() } catch (e) { console.log(name, 'THROWN', (e as Error).stack?.slice(0, 300)); return }
  console.log(name, (performance.now() - a).toFixed(0), 'ms', r.objects.length, formatDiagnostics(r.diagnostics).slice(0, 600))
}
it('x', () => {
  const m = '/work/shared/cases/manifests/'
  for (const f of ['microservices-demo.yaml', 'kube-flannel.yml', 'calico-vxlan.yaml', 'metallb-native.yaml', 'ingress-nginx-baremetal.yaml']) time(f, () => loadInputs([m + f]))
  time('dir', () => loadInputs([m]))
  time('glob', () => loadInputs([m + '*net*.y?ml']))
  let s = 12345
  const rnd = () => (s = (s * 1103515245 + 12345) & 0x7fffffff)
  const ascii = Array.from({ length: 10_000_000 }, () => String.fromCharCode(32 + (rnd() >> 8) % 95)).join('')
  time('ascii', () => loadText(ascii))
  const lines = Array.from({ length: 10_000_000 }, () => (rnd() >> 8) % 60 === 0 ? '\n' : String.fromCharCode(32 + (rnd() >> 8) % 95)).join('')
  time('asciilines', () => loadText(lines))
  time('brackets', () => loadText('['.repeat(10_000_000)))
  time('pairs', () => loadText('[],'.repeat(3_000_000)))
  time('dashes', () => loadText('- '.repeat(5_000_000)))
  time('colon', () => loadText('a: '.repeat(3_000_000)))
  time('colonlines', () => loadText('a: 1\n'.repeat(2_000_000)))
  time('docs', () => loadText('---\na\n'.repeat(500_000)))
  time('aaa', () => loadText('a'.repeat(10_000_000)))
  time('spaces', () => loadText(' '.repeat(10_000_000)))
  time('nl', () => loadText('\n'.repeat(10_000_000)))
  time('q', () => loadText('"'.repeat(10_000_000)))
  time('star', () => loadText('a: *b\n'.repeat(1_000_000)))
  time('indent', () => loadText(Array.from({ length: 3000 }, (_, i) => ' '.repeat(i) + 'a:\n').join('')))
  writeFileSync('/tmp/kb/bin', Buffer.from(Array.from({ length: 1000 }, () => rnd() & 255)))
  time('bin', () => loadInputs(['/tmp/kb/bin']))
  time('bomb', () => loadText('a: &a [x,x,x,x,x,x,x,x,x]\n' + 'bcdefghi'.split('').map((c, i) => `${c}: &${c} [${Array(9).fill('*' + 'abcdefgh'[i]).join(',')}]\n`).join('')))
  time('dup', () => loadText('apiVersion: v1\nkind: Pod\nkind: Pod\nmetadata: {name: a}\n---\na: b\n\tc: d\n---\n{{ .Values }}\n--- \nkind: 5\n...\n'))
}, 600000)
