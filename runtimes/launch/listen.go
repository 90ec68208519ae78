package launch

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tenement/ten/runtimes"
)

// listenName is what the one socket is called in LISTEN_FDNAMES.
const listenName = "http"

// notifyVariable is where programs learn of the socket of sd_notify(3).
const notifyVariable = "NOTIFY_SOCKET"

// listenOn gives the path, or the port with its name, of the socket that a spec
// asks the level for.
func listenOn(spec *runtimes.Spec) (name string, port uint32) {
	if spec.Socket != "" {
		return spec.Socket, 0
	}
	return fmt.Sprintf("127.0.0.1:%d", spec.Port), uint32(spec.Port)
}

// withoutActivation drops what says that sockets were passed.
func withoutActivation(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool { return activation(nameOf(kv)) })
}

// WithoutDaemon drops from an environment what is between a daemon and the
// service manager that started it: its sockets, its notifications, its watchdog.
func WithoutDaemon(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name := nameOf(kv)
		return activation(name) || name == notifyVariable || name == "WATCHDOG_PID" || name == "WATCHDOG_USEC"
	})
}

func activation(name string) bool {
	return name == "LISTEN_PID" || name == "LISTEN_FDS" || name == "LISTEN_FDNAMES" || name == "LISTEN_PIDFDID"
}

func nameOf(kv string) string {
	name, _, _ := strings.Cut(kv, "=")
	return name
}
