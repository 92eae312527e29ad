/**
 * A small checker for the shapes of Kubernetes objects, with the place of every finding.
 *
 * A schema is data: tables in schemas/*.ts say which fields an object has, of which type, which are required and what
 * their values may be. The checker walks value and schema together and reports every wrong type, missing field and
 * unknown field in one pass; positions are looked up only for findings. `null` counts as absent, as in the API server.
 *
 * Unknown fields are warnings with the words of strict decoding (`unknown field "spec.foo"`).
 * Sources: sigs.k8s.io/json strict decoding, k8s.io/apimachinery/pkg/util/validation/field.
 */
import type { Diagnostics } from '../diagnostics/diagnostic.ts'
import { didYouMean } from './names.ts'
import type { LoadedObject } from './types.ts'

/** Gives what was expected when the value is not good, null when it is. */
export type ValueCheck = (value: string) => string | null

/** The shape of one field. */
export type Schema =
  | {
      readonly t: 'string'
      readonly check?: ValueCheck
      readonly oneOf?: readonly string[]
      readonly isWarning?: boolean
    }
  | { readonly t: 'int'; readonly min?: number; readonly max?: number }
  | { readonly t: 'bool' }
  | { readonly t: 'number' }
  | { readonly t: 'port' }
  | { readonly t: 'quantity' }
  | { readonly t: 'map'; readonly value: Schema; readonly key?: ValueCheck }
  | { readonly t: 'list'; readonly item: Schema; readonly min?: number }
  | ObjectSchema
  | { readonly t: 'any' }

/** An object with known fields; a field name with `!` behind it in the table is required. */
export interface ObjectSchema {
  readonly t: 'object'
  readonly fields: ReadonlyMap<string, Schema>
  readonly required: readonly string[]
}

/** Any value. */
export const any: Schema = { t: 'any' }
/** A string. */
export const string: Schema = { t: 'string' }
/** A boolean. */
export const bool: Schema = { t: 'bool' }
/** An integer. */
export const int: Schema = { t: 'int' }
/** A port number 1-65535. */
export const portNumber: Schema = { t: 'int', min: 1, max: 65535 }
/** A port number or a port name. */
export const portOrName: Schema = { t: 'port' }
/** A resource quantity. */
export const quantity: Schema = { t: 'quantity' }

/** A string that passes a check. */
export function checked(check: ValueCheck): Schema {
  return { t: 'string', check }
}

/** One of some strings. */
export function oneOf(...values: string[]): Schema {
  return { t: 'string', oneOf: values }
}

/** A list. */
export function list(item: Schema, min = 0): Schema {
  return { t: 'list', item, min }
}

/** A map from strings. */
export function map(value: Schema, key?: ValueCheck): Schema {
  return key === undefined ? { t: 'map', value } : { t: 'map', value, key }
}

/**
 * An object: `{ 'name!': string, labels: map(string) }`; the second argument names further fields of any type,
 * separated by spaces.
 */
export function object(fields: Readonly<Record<string, Schema>>, others = ''): ObjectSchema {
  const table = new Map<string, Schema>()
  const required: string[] = []
  for (const [name, schema] of Object.entries(fields)) {
    const bare = name.endsWith('!') ? name.slice(0, -1) : name
    if (bare !== name) required.push(bare)
    table.set(bare, schema)
  }
  for (const name of others.split(' ')) if (name !== '') table.set(name, any)
  return { t: 'object', fields: table, required }
}

/** `spec.ports[0].port` from path steps; keys with dots are quoted in brackets as kubectl prints them. */
export function pathText(path: readonly (string | number)[]): string {
  let text = ''
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`
    else if (/[.[\]]/.test(step)) text += `[${step}]`
    else text += text === '' ? step : `.${step}`
  }
  return text
}

/** A value as it is shown in "found ...". */
export function describe(value: unknown): string {
  if (value === undefined || value === null) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'an object'
  const text = JSON.stringify(value) ?? String(value)
  const shown = text.length > 80 ? `${text.slice(0, 77)}...` : text
  return typeof value === 'string' ? `string ${shown}` : typeof value === 'boolean' ? `boolean ${shown}` : shown
}

/** Checks one object; true when nothing in it is an error. */
export function checkSchema(loaded: LoadedObject, schema: ObjectSchema, diagnostics: Diagnostics): boolean {
  const checker = new Checker(loaded, diagnostics)
  checker.check(loaded.object, schema)
  return checker.isGood
}

class Checker {
  isGood = true
  private readonly path: (string | number)[] = []
  private readonly loaded: LoadedObject
  private readonly diagnostics: Diagnostics

  constructor(loaded: LoadedObject, diagnostics: Diagnostics) {
    this.loaded = loaded
    this.diagnostics = diagnostics
  }

  check(value: unknown, schema: Schema): void {
    switch (schema.t) {
      case 'any':
        return
      case 'string':
        if (typeof value !== 'string') {
          const isBoolean = typeof value === 'boolean'
          const hint = isBoolean
            ? 'quote it: YAML reads yes, no, on and off as booleans'
            : typeof value === 'number'
              ? `quote it: "${value}"`
              : undefined
          this.wrong(schema.oneOf ? `one of ${schema.oneOf.join(', ')}` : 'a string', value, hint)
          return
        }
        if (schema.oneOf !== undefined && !schema.oneOf.includes(value)) {
          const meant = didYouMean(value, schema.oneOf)
          this.wrong(`one of ${schema.oneOf.join(', ')}`, value, meant && `did you mean "${meant}"?`, 'invalid-value')
          return
        }
        if (schema.check !== undefined) {
          const expected = schema.check(value)
          if (expected !== null) this.wrong(expected, value, undefined, 'invalid-value')
        }
        return
      case 'int': {
        const range = schema.max === undefined ? '' : ` ${schema.min}-${schema.max}`
        if (typeof value !== 'number' || !Number.isInteger(value)) {
          const isDigits = typeof value === 'string' && /^\d+$/.test(value)
          this.wrong(`an integer${range}`, value, isDigits ? 'remove the quotes' : undefined)
          return
        }
        if ((schema.min !== undefined && value < schema.min) || (schema.max !== undefined && value > schema.max)) {
          this.wrong(
            range === '' ? `an integer of at least ${schema.min}` : range.trim(),
            value,
            undefined,
            'invalid-value',
          )
        }
        return
      }
      case 'number':
        if (typeof value !== 'number') this.wrong('a number', value)
        return
      case 'bool':
        if (typeof value !== 'boolean') this.wrong('true or false', value)
        return
      case 'port':
        this.checkPort(value)
        return
      case 'quantity':
        if (typeof value !== 'string' && typeof value !== 'number') {
          this.wrong('a quantity', value)
          return
        }
        if (!/^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i)?$/.test(String(value))) {
          this.wrong('a quantity such as 100m, 64Mi or 2', value, undefined, 'invalid-value')
        }
        return
      case 'map':
        this.checkMap(value, schema.value, schema.key)
        return
      case 'list':
        if (!Array.isArray(value)) {
          this.wrong('a list', value)
          return
        }
        if (value.length < (schema.min ?? 0)) this.wrong(`at least ${schema.min} item`, [], undefined, 'missing-field')
        for (let i = 0; i < value.length; i++) this.checkAt(i, value[i], schema.item)
        return
      case 'object':
        this.checkObject(value, schema)
        return
    }
  }

  private checkAt(step: string | number, value: unknown, schema: Schema): void {
    this.path.push(step)
    this.check(value, schema)
    this.path.pop()
  }

  private checkPort(value: unknown): void {
    if (typeof value === 'number') {
      if (!Number.isInteger(value) || value < 1 || value > 65535) {
        this.wrong('a port 1-65535 or a port name', value, undefined, 'invalid-value')
      }
    } else if (typeof value !== 'string') this.wrong('a port 1-65535 or a port name', value)
    else if (value.length > 15 || !/^(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*$/.test(value)) {
      const isDigits = /^\d+$/.test(value)
      this.wrong('a port 1-65535 or a port name', value, isDigits ? 'remove the quotes' : undefined, 'invalid-value')
    }
  }

  private checkMap(value: unknown, item: Schema, keyCheck: ValueCheck | undefined): void {
    if (!isRecord(value)) {
      this.wrong('an object', value)
      return
    }
    for (const key in value) {
      const expected = keyCheck?.(key)
      if (expected) {
        this.path.push(key)
        this.wrong(expected, key, undefined, 'invalid-value')
        this.path.pop()
      }
      if (value[key] === null && item.t === 'string') continue
      this.checkAt(key, value[key], item)
    }
  }

  private checkObject(value: unknown, schema: ObjectSchema): void {
    if (!isRecord(value)) {
      this.wrong('an object', value)
      return
    }
    for (const key in value) {
      const field = schema.fields.get(key)
      if (field === undefined) this.unknownField(key, schema)
      else if (value[key] !== null && value[key] !== undefined) this.checkAt(key, value[key], field)
    }
    for (const name of schema.required) {
      if (value[name] !== undefined && value[name] !== null && value[name] !== '') continue
      this.path.push(name)
      this.wrong(expectedName(schema.fields.get(name)!), value[name], undefined, 'missing-field')
      this.path.pop()
    }
  }

  private unknownField(key: string, schema: ObjectSchema): void {
    this.path.push(key)
    const meant = didYouMean(key, schema.fields.keys())
    this.diagnostics.warning(
      'unknown-field',
      this.loaded.positionOf(this.path),
      `unknown field ${JSON.stringify(pathText(this.path))}`,
      { hint: meant === undefined ? undefined : `did you mean "${meant}"?` },
    )
    this.path.pop()
  }

  private wrong(expected: string, value: unknown, hint?: string, code = 'wrong-type'): void {
    this.isGood = false
    const found = Array.isArray(value) && value.length === 0 ? 'none' : describe(value)
    this.diagnostics.error(code, this.loaded.positionOf(this.path), `expected ${expected}, found ${found}`, {
      path: pathText(this.path),
      hint,
    })
  }
}

function expectedName(schema: Schema): string {
  switch (schema.t) {
    case 'string':
      return schema.oneOf ? `one of ${schema.oneOf.join(', ')}` : 'a string'
    case 'int':
      return 'an integer'
    case 'list':
      return 'a list'
    case 'object':
    case 'map':
      return 'an object'
    case 'port':
      return 'a port'
    default:
      return 'a value'
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
