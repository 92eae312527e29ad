/**
 * Words of JSON Schema that the schemas share.
 */
type Schema = { readonly [keyword: string]: unknown }

/** Any text. */
export const TEXT: Schema = { type: 'string' }
/** A whole number from 0. */
export const COUNT: Schema = { type: 'integer', minimum: 0 }
/** A transport port; 0 where the protocol has none. */
export const PORT: Schema = { type: 'integer', minimum: 0, maximum: 65535 }
/** Yes or no. */
export const BOOL: Schema = { type: 'boolean' }
/** A list of texts. */
export const TEXTS: Schema = { type: 'array', items: TEXT }

/** Text or null. */
export const TEXT_OR_NULL: Schema = { type: ['string', 'null'] }

/** One of some words. */
export function words(...values: readonly string[]): Schema {
  return { enum: values }
}

/** A list. */
export function listOf(items: Schema): Schema {
  return { type: 'array', items }
}

/** The schema or null. */
export function orNull(schema: Schema): Schema {
  return { anyOf: [schema, { type: 'null' }] }
}

/** An object with exactly these fields; those named in `optional` may be absent. */
export function exactly(properties: { readonly [name: string]: Schema }, optional: readonly string[] = []): Schema {
  const required = Object.keys(properties).filter((name) => !optional.includes(name))
  return { type: 'object', properties, required, additionalProperties: false }
}

/** A document with apiVersion and kind; fields named in `optional` may be absent. */
export function documentOf(
  kind: string,
  title: string,
  properties: { readonly [name: string]: Schema },
  optional: readonly string[] = [],
): Schema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: `https://podwalk.dev/schemas/v1alpha1/${kind}.json`,
    title,
    ...exactly({ apiVersion: { const: 'podwalk.dev/v1alpha1' }, kind: { const: kind }, ...properties }, optional),
  }
}
