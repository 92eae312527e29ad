/**
 * What ingress controllers and gateways decide about a connection or a request.
 */
import type { HttpHeader, HttpRequest } from '../wire/http.ts'

/** The line of a manifest that decided. */
export interface RouteOrigin {
  readonly kind: string
  readonly namespace: string
  readonly name: string
  /** `spec.rules[0].http.paths[1]` */
  readonly rule: string
  readonly file: string
  readonly line: number
}

/** A request as a controller sees it. */
export interface Asked {
  readonly isTls: boolean
  /** Server name of the TLS connection, null without TLS or without a name. */
  readonly serverName: string | null
  /** Host header without port, lower case. */
  readonly host: string
  /** Port of the pod that the connection came in by. */
  readonly port: number
  readonly request: HttpRequest
  /** The client's address as the controller sees it. */
  readonly client: string
}

/** An address to connect to. */
export interface Upstream {
  readonly ip: string
  readonly port: number
}

/** What becomes of a request. */
export type Decision =
  | {
      readonly action: 'forward'
      readonly origin: RouteOrigin
      /** `namespace/name` of the Service. */
      readonly service: string
      readonly upstreams: readonly Upstream[]
      /** To be sent on: method, target and headers as the controller changes them. */
      readonly request: HttpRequest
      readonly isTlsUpstream: boolean
      readonly responseHeaders?: (headers: readonly HttpHeader[]) => readonly HttpHeader[]
    }
  | {
      readonly action: 'respond'
      readonly status: number
      /** Reason phrase, where it is not the usual one. */
      readonly reason?: string
      readonly headers: readonly HttpHeader[]
      readonly body: string
      readonly origin: RouteOrigin | null
      readonly why: string
    }
  | { readonly action: 'unmodelled'; readonly what: string; readonly origin: RouteOrigin | null }

/** What becomes of a TLS connection when its ClientHello is there. */
export type TlsDecision =
  | { readonly action: 'terminate' }
  | {
      readonly action: 'passthrough'
      readonly origin: RouteOrigin
      readonly service: string
      readonly upstreams: readonly Upstream[]
    }
  | { readonly action: 'refuse'; readonly origin: RouteOrigin | null; readonly why: string }

/** Draws an integer in [0, n). */
export type Draw = (n: number) => number

/** A page of a controller's own. */
export interface ErrorPage {
  readonly headers: readonly HttpHeader[]
  readonly body: string
  /** Reason phrase, where it is not the usual one. */
  readonly reason?: string
}

/** A data plane that runs in pods: how it listens, and what it decides. */
export interface Controller {
  /** `ingress-nginx`, `traefik` ... as in the docs. */
  readonly name: string
  /** Ports of a pod and whether they are TLS. */
  readonly ports: ReadonlyMap<number, boolean>
  /** Seconds after which a connection upstream is given up. */
  readonly connectTimeoutS: number
  /** Attempts at other endpoints after one that fails. */
  readonly tries: number
  decide(asked: Asked): Decision
  decideTls(serverName: string | null, port: number): TlsDecision
  /** Its page for a status of its own (502, 504). */
  errorPage(status: number): ErrorPage
}

/** How far a feature is modelled. */
export interface IngressFeature {
  readonly name: string
  readonly support: 'supported' | 'partial' | 'not'
  readonly sentence: string
}
