/**
 * Error numbers as the kernel returns them: negative integers.
 *
 * Source: include/uapi/asm-generic/errno-base.h, errno.h.
 */
export const EPERM = -1
export const ENOENT = -2
export const ESRCH = -3
export const EIO = -5
export const ENXIO = -6
export const EAGAIN = -11
export const ENOMEM = -12
export const EACCES = -13
export const EBUSY = -16
export const EEXIST = -17
export const ENODEV = -19
export const EINVAL = -22
export const ENOSPC = -28
export const EPIPE = -32
export const ERANGE = -34
export const ELOOP = -40
export const EPROTO = -71
export const ENOTSOCK = -88
export const EDESTADDRREQ = -89
export const EMSGSIZE = -90
export const ENOPROTOOPT = -92
export const EPROTONOSUPPORT = -93
export const EOPNOTSUPP = -95
export const EAFNOSUPPORT = -97
export const EADDRINUSE = -98
export const EADDRNOTAVAIL = -99
export const ENETDOWN = -100
export const ENETUNREACH = -101
export const ENETRESET = -102
export const ECONNABORTED = -103
export const ECONNRESET = -104
export const ENOBUFS = -105
export const EISCONN = -106
export const ENOTCONN = -107
export const ESHUTDOWN = -108
export const ETIMEDOUT = -110
export const ECONNREFUSED = -111
export const EHOSTDOWN = -112
export const EHOSTUNREACH = -113
export const EALREADY = -114
export const EINPROGRESS = -115

const NAMES = new Map<number, string>(
  Object.entries({
    EPERM,
    ENOENT,
    ESRCH,
    EIO,
    ENXIO,
    EAGAIN,
    ENOMEM,
    EACCES,
    EBUSY,
    EEXIST,
    ENODEV,
    EINVAL,
    ENOSPC,
    EPIPE,
    ERANGE,
    ELOOP,
    EPROTO,
    ENOTSOCK,
    EDESTADDRREQ,
    EMSGSIZE,
    ENOPROTOOPT,
    EPROTONOSUPPORT,
    EOPNOTSUPP,
    EAFNOSUPPORT,
    EADDRINUSE,
    EADDRNOTAVAIL,
    ENETDOWN,
    ENETUNREACH,
    ENETRESET,
    ECONNABORTED,
    ECONNRESET,
    ENOBUFS,
    EISCONN,
    ENOTCONN,
    ESHUTDOWN,
    ETIMEDOUT,
    ECONNREFUSED,
    EHOSTDOWN,
    EHOSTUNREACH,
    EALREADY,
    EINPROGRESS,
  }).map(([name, value]) => [value, name]),
)

/** `EHOSTUNREACH` for -113 or 113; the number as text when it has no name here. */
export function errnoName(errno: number): string {
  return NAMES.get(-Math.abs(errno)) ?? String(errno)
}

/** A transmit's answer beside 0 and errnos: the device or its peer dropped the packet. */
export const NET_XMIT_DROP = 1

/** net_xmit_errno: what a caller in process context sees of a transmit's answer. */
export function netXmitErrno(rc: number): number {
  return rc > 0 ? ENOBUFS : rc
}
