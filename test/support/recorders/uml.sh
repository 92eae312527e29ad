#!/bin/sh
# Runs a script as root on User-Mode Linux: for kernel modules that the running kernel lacks (vlan, ipvlan, gre, geneve,
# tc actions ...).  usage: uml.sh SCRIPT [SECONDS]; stdout of SCRIPT is printed, its exit status is ours.
# Needs Debian's user-mode-linux, kmod, iproute2; the root file system is the host's (hostfs).
set -eu
SCRIPT=$(readlink -f "$1"); WORK=$(mktemp -d)
V=$(ls /usr/lib/uml/modules | tail -1)
mkdir -p "$WORK/lib/modules" && ln -s "/usr/lib/uml/modules/$V" "$WORK/lib/modules/$V"
printf '#!/bin/sh\nexec /sbin/modprobe -d %s "$@"\n' "$WORK" >"$WORK/modprobe"; chmod +x "$WORK/modprobe"
cat >"$WORK/init" <<'INIT'
#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc; mount -t sysfs sys /sys
mount -t tmpfs -o mode=755 tmpfs /run; mkdir -p /run/netns /run/lock
mount -t tmpfs -o mode=1777 tmpfs /dev/shm 2>/dev/null
echo "$WORK/modprobe" > /proc/sys/kernel/modprobe
echo 8 > /proc/sys/kernel/printk; dmesg -n 1
for m in af_packet veth dummy bridge br_netfilter tun vxlan nf_conntrack nf_conntrack_netlink nf_nat ip_tables iptable_raw \
  iptable_mangle iptable_nat iptable_filter x_tables 8021q macvlan ipvlan sch_ingress act_gact act_mirred act_skbedit \
  act_vlan cls_u32 cls_matchall cls_flower ebtables ebtable_filter ebtable_nat ebtable_broute $UML_MODULES; do
  "$WORK/modprobe" $m
done
ip link set lo up
/bin/sh "$SCRIPT" >"$WORK/stdout" 2>"$WORK/stderr"; echo $? >"$WORK/rc"
sync; /sbin/poweroff -f
INIT
chmod +x "$WORK/init"
timeout -k 5 "${2:-300}" linux.uml mem=512M root=/dev/root rootfstype=hostfs rootflags=/ rw init="$WORK/init" \
  "WORK=$WORK" "SCRIPT=$SCRIPT" "UML_MODULES=$(echo "${UML_MODULES:-}" | tr ' ' ' ')" con=null con0=null,fd:1 ssl=null uml_dir="$WORK/" \
  umid=rec quiet </dev/null >"$WORK/console" 2>&1 || true
cat "$WORK/stdout" 2>/dev/null || true
cat "$WORK/stderr" >&2 2>/dev/null || tail -5 "$WORK/console" >&2
RC=$(cat "$WORK/rc" 2>/dev/null || echo 9)
rm -rf "$WORK"
exit "$RC"
