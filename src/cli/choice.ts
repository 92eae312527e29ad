/**
 * Options and arguments that take one of some words, with a did-you-mean for the others.
 */
import { InvalidArgumentError, Option } from 'commander'
import { didYouMean } from '../kubernetes/names.ts'

/** An option that takes one of `words`; case does not count. */
export function choiceOption(flags: string, description: string, words: readonly string[]): Option {
  const option = new Option(flags, `${description} (${words.join(', ')})`)
  option.argParser(choiceArgument(words))
  return option
}

/** Reads one of `words`, or one of the other names for them. */
export function choiceArgument<T extends string>(
  words: readonly T[],
  others: { readonly [name: string]: T } = {},
): (text: string) => T {
  return (text) => {
    const lower = text.toLowerCase()
    const found =
      words.find((w) => w.toLowerCase() === lower) ?? (Object.hasOwn(others, lower) ? others[lower] : undefined)
    if (found !== undefined) return found
    const meant = didYouMean(
      lower,
      words.map((w) => w.toLowerCase()),
    )
    const word = words.find((w) => w.toLowerCase() === meant)
    throw new InvalidArgumentError(
      word === undefined
        ? `Expected one of ${words.join(', ')}.`
        : `Did you mean ${word}? There are ${words.join(', ')}.`,
    )
  }
}
