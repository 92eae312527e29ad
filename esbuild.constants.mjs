// esbuild plugin: puts the numbers of constants in their places.
//
// esbuild (minifySyntax) inlines a top-level `const NAME = number` into every module that uses it, but only from modules
// that import nothing; elsewhere the constant becomes a `var`, which V8 loads and checks on every use: the packet walk pays
// a twentieth for it. So the numbers of a file with imports are moved to a module of their own, which the file imports in
// its first line: line numbers stay as they are.
import { readFile } from 'node:fs/promises'

const NUMBER = '-?(?:0x[0-9a-fA-F_]+|[0-9][0-9_]*)'
const VALUE = `${NUMBER}(?: (?:\\||<<|\\*|\\+|-) ${NUMBER})?`
const CONSTANT = new RegExp(`^(export )?const ([A-Z][A-Z0-9_]*) = (${VALUE});?$`, 'gm')
const SUFFIX = '?constants'

/** Splits a source: what stays, and the module of its numbers ('' when there is nothing to move). */
export function splitConstants(source, moduleName) {
  if (source.startsWith('#!') || !/^import /m.test(source)) return { source, numbers: '' }
  const names = []
  const exported = []
  let numbers = ''
  const rest = source.replace(CONSTANT, (_line, isExported, name, value) => {
    names.push(name)
    if (isExported !== undefined) exported.push(name)
    numbers += `export const ${name} = ${value}\n`
    return ''
  })
  if (names.length === 0) return { source, numbers }
  const head = `import { ${names.join(', ')} } from ${JSON.stringify(moduleName)};`
  return { source: `${head}${exported.length === 0 ? '' : `export { ${exported.join(', ')} };`}${rest}`, numbers }
}

/** The plugin; `filter` says which files it may touch (Go's regular expressions), packages never. */
export function constants(filter) {
  const split = async (path) => splitConstants(await readFile(path, 'utf8'), path + SUFFIX)
  return {
    name: 'constants',
    setup(build) {
      build.onResolve({ filter: /\?constants$/ }, ({ path }) => ({ path, namespace: 'constants' }))
      build.onLoad({ filter: /./, namespace: 'constants' }, async ({ path }) => ({
        contents: (await split(path.slice(0, -SUFFIX.length))).numbers,
        loader: 'js',
      }))
      build.onLoad({ filter, namespace: 'file' }, async ({ path }) => {
        if (path.includes('/node_modules/')) return undefined
        return { contents: (await split(path)).source, loader: path.endsWith('.ts') ? 'ts' : 'js' }
      })
    },
  }
}
