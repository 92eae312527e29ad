/**
 * Which pods are controllers: an ingress controller by its image, a gateway's data plane by label, class or image.
 *
 * One entry per ingress controller. A Gateway runs in the pods that carry its name (gateway.networking.k8s.io/gateway-name,
 * GEP-1762; gateway.envoyproxy.io/owning-gateway-name), else in the pods whose image its GatewayClass' controller is known
 * by. A listener's port is the Service port in front of the pods, or the pod's own.
 */

import { matchesMap } from '../kubernetes/selector.ts'
import type { ClusterModel, LoadedObject, PodModel } from '../kubernetes/types.ts'
import { GatewayRouter } from './gateway.ts'
import { GATEWAY_GROUP } from './gateway-objects.ts'
import { haproxyIngress } from './haproxy.ts'
import { ingressNginx } from './nginx.ts'
import { objectsOf } from './objects.ts'
import { traefik } from './traefik.ts'
import type { Controller, Draw } from './types.ts'

/** How an ingress controller is recognised and made. */
export interface IngressDriver {
  readonly name: string
  /** Of the container image. */
  readonly image: RegExp
  readonly create: (model: ClusterModel, pod: PodModel, draw: Draw) => Controller
}

/** Every ingress controller. */
export const INGRESS_DRIVERS: readonly IngressDriver[] = [
  { name: 'ingress-nginx', image: /(?:ingress-nginx\/controller|nginx-ingress-controller)/, create: ingressNginx },
  { name: 'traefik', image: /(?:^|\/)traefik(?:[:@]|$)/, create: traefik },
  { name: 'haproxy', image: /haproxytech\/kubernetes-ingress/, create: haproxyIngress },
]

/** Images by which the data plane of a GatewayClass' controller is known. */
const GATEWAY_IMAGES: readonly (readonly [controller: RegExp, image: RegExp])[] = [
  [/^traefik\.io\/gateway-controller$/, /(?:^|\/)traefik(?:[:@]|$)/],
  [/^gateway\.nginx\.org\//, /nginx-gateway-fabric/],
  [/^gateway\.envoyproxy\.io\//, /(?:^|\/)envoy(?:[:@]|$)/],
]
const NAME_LABELS = ['gateway.networking.k8s.io/gateway-name', 'gateway.envoyproxy.io/owning-gateway-name']
const CONNECT_TIMEOUT_S = 10

function hasImage(pod: PodModel, image: RegExp): boolean {
  return pod.spec.containers.some((c) => image.test(c.image ?? ''))
}

/** The pods in which a controller or a gateway runs; looks at each pod template once. */
export function controllerPods(model: ClusterModel): PodModel[] {
  const gateways = objectsOf(model, GATEWAY_GROUP, 'Gateway')
  const known = new Map<PodModel['spec'], boolean>()
  return model.pods.filter((pod) => {
    let isIngress = known.get(pod.spec)
    if (isIngress === undefined) {
      isIngress = INGRESS_DRIVERS.some((d) => hasImage(pod, d.image))
      known.set(pod.spec, isIngress)
    }
    return isIngress || gateways.some((g) => runsIn(model, g, pod))
  })
}

/** The controllers of a pod: at most one for Ingress, and one per Gateway. */
export function controllersOf(model: ClusterModel, pod: PodModel, draw: Draw): Controller[] {
  const out: Controller[] = []
  const driver = INGRESS_DRIVERS.find((d) => hasImage(pod, d.image))
  if (driver !== undefined) out.push(driver.create(model, pod, draw))
  for (const gateway of objectsOf(model, GATEWAY_GROUP, 'Gateway')) {
    if (runsIn(model, gateway, pod)) out.push(gatewayController(model, gateway, pod, draw))
  }
  return out
}

/** Whether a Gateway's data plane runs in a pod. */
export function runsIn(model: ClusterModel, gateway: LoadedObject, pod: PodModel): boolean {
  const { name, namespace } = gateway.object.metadata
  if (
    NAME_LABELS.some((l) => pod.labels[l] === name) &&
    (pod.namespace === namespace || pod.labels['gateway.envoyproxy.io/owning-gateway-namespace'] === namespace)
  )
    return true
  const { gatewayClassName } = gateway.object.spec as { gatewayClassName: string }
  const gatewayClass = objectsOf(model, GATEWAY_GROUP, 'GatewayClass').find(
    (c) => c.object.metadata.name === gatewayClassName,
  )
  const controller = (gatewayClass?.object.spec as { controllerName?: string } | undefined)?.controllerName ?? ''
  return GATEWAY_IMAGES.some(([id, image]) => id.test(controller) && hasImage(pod, image))
}

/** The port of a pod that a Service port leads to. */
function podPortOf(model: ClusterModel, pod: PodModel, port: number): number {
  for (const { object } of model.services) {
    const { selector, ports } = object.spec
    if (object.metadata.namespace !== pod.namespace || selector === undefined || !matchesMap(selector, pod.labels))
      continue
    const target = ports?.find((p) => p.port === port && p.protocol === 'TCP')?.targetPort
    if (typeof target === 'number') return target
    const named = pod.ports.find((p) => p.name === target)
    if (named !== undefined) return named.port
  }
  return port
}

function gatewayController(model: ClusterModel, gateway: LoadedObject, pod: PodModel, draw: Draw): Controller {
  const router = new GatewayRouter(model, gateway, draw)
  const ports = new Map<number, boolean>()
  const listenerPort = new Map<number, number>()
  for (const l of router.listeners) {
    const port = podPortOf(model, pod, l.port)
    ports.set(port, l.protocol === 'HTTPS' || l.protocol === 'TLS')
    listenerPort.set(port, l.port)
  }
  return {
    name: `Gateway ${gateway.object.metadata.namespace}/${gateway.object.metadata.name}`,
    ports,
    connectTimeoutS: CONNECT_TIMEOUT_S,
    tries: 1,
    decide: (asked) => router.decide(asked, listenerPort.get(asked.port) ?? asked.port),
    decideTls: (name, port) => router.decideTls(name, listenerPort.get(port) ?? port),
    errorPage: () => ({ headers: [], body: '' }),
  }
}
