package systemd

import (
	"path"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

// wall is the level namespace in systemd's words: the host read-only, nothing of
// other people in sight, no privilege and none to be had.
func wall() [][2]string {
	return [][2]string{
		{"NoNewPrivileges", "yes"},
		{"CapabilityBoundingSet", ""},
		{"AmbientCapabilities", ""},
		{"ProtectSystem", "strict"},
		{"ProtectHome", "yes"},
		{"PrivateTmp", "yes"},
		{"PrivateDevices", "yes"},
		{"PrivateIPC", "yes"},
		{"ProtectProc", "invisible"},
		{"ProtectHostname", "yes"},
		{"ProtectClock", "yes"},
		{"ProtectKernelTunables", "yes"},
		{"ProtectKernelModules", "yes"},
		{"ProtectKernelLogs", "yes"},
		{"ProtectControlGroups", "yes"},
		{"KeyringMode", "private"},
		{"RemoveIPC", "yes"},
		{"LockPersonality", "yes"},
		{"RestrictNamespaces", "yes"},
		{"RestrictRealtime", "yes"},
		{"RestrictSUIDSGID", "yes"},
		{"RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6"},
		{"SystemCallArchitectures", "native"},
		{"SystemCallFilter", "@system-service"},
		{"SystemCallFilter", "~@privileged"},
		{"SystemCallErrorNumber", "EPERM"},
	}
}

// walls are the settings of the level, and of the network.
func (e *exporter) walls(in export.Instance, user string, u *unit) {
	if in.Service.Network == schema.NetworkNone {
		u.set("Service", "PrivateNetwork", "yes")
	}
	own := path.Base(path.Dir(in.Socket))
	if in.Listen == export.ListenSocket && in.Service.Socket == "" && !in.Service.ListenFDs {
		u.set("Service", "RuntimeDirectory", own)
		u.set("Service", "RuntimeDirectoryMode", "0755")
	}
	if user == "" {
		return
	}
	u.set("Service", "User", user)
	u.set("Service", "Group", user)
	u.each("Service", wall())
	if dir := path.Dir(in.Socket); in.Service.Socket != "" && !common(dir) && !in.Service.ListenFDs {
		u.set("Service", "ReadWritePaths", dir)
	}
}

// common reports a directory that everybody uses: to open it for one socket
// would open the wall.
func common(dir string) bool {
	switch dir {
	case "/", "/tmp", "/var/tmp", "/run", "/var/run", "/dev", "/dev/shm":
		return true
	}
	return false
}
