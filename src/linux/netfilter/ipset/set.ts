export class IpSet {
  readonly name: string = ''
  readonly dimensions: number = 1
}
