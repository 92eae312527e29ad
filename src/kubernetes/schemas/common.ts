/**
 * Shapes shared by all kinds: metadata, label selectors, references.
 *
 * Sources: k8s.io/apimachinery/pkg/apis/meta/v1/types.go.
 */
import { badLabelKey, badLabelValue, badSubdomain } from '../names.ts'
import type { ObjectSchema, Schema } from '../schema.ts'
import { any, bool, checked, list, map, object, oneOf, string } from '../schema.ts'

/** A map of labels. */
export const labels: Schema = map(checked(badLabelValue), badLabelKey)

/** ObjectMeta of an object or of a template. */
export const metadata: ObjectSchema = object(
  {
    name: string,
    generateName: string,
    namespace: string,
    labels,
    annotations: map(string, badLabelKeyOfAnnotation),
    uid: string,
    ownerReferences: list(
      object({
        apiVersion: string,
        'kind!': string,
        'name!': string,
        uid: string,
        controller: bool,
        blockOwnerDeletion: bool,
      }),
    ),
    finalizers: list(string),
  },
  'creationTimestamp deletionTimestamp deletionGracePeriodSeconds resourceVersion generation managedFields selfLink clusterName',
)

/** metav1.LabelSelector. */
export const labelSelector: ObjectSchema = object({
  matchLabels: labels,
  matchExpressions: list(
    object({
      'key!': checked(badLabelKey),
      'operator!': oneOf('In', 'NotIn', 'Exists', 'DoesNotExist'),
      values: list(string),
    }),
  ),
})

/** The fields that every object has beside its own. */
export function kind(fields: Readonly<Record<string, Schema>>, others = ''): ObjectSchema {
  return object({ apiVersion: string, kind: string, 'metadata!': metadata, status: any, ...fields }, others)
}

function badLabelKeyOfAnnotation(key: string): string | null {
  // Annotation keys are label keys in any case of letters.
  return badLabelKey(key.toLowerCase()) === null ? null : 'an annotation key'
}

/** A name of an object as an RFC 1123 subdomain. */
export const subdomain: Schema = checked(badSubdomain)
