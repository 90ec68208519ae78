package systemd

import (
	"slices"
	"strconv"

	"github.com/tenement/ten/export"
)

// activation says what starts an instance: the project's target, or, where it
// sleeps, its first connection.
func (e *exporter) activation(in export.Instance, name string, u *unit) error {
	s := in.Service
	awake := slices.Index(s.Instances, in.ID) < s.MinRunning
	sleeps := (s.IdleTimeout > 0 || s.OnDemand) && !awake
	e.tellSleep(in)
	switch {
	case s.ListenFDs:
		return e.passes(in, name, sleeps)
	case sleeps && in.Listen == export.ListenPort:
		return e.forwards(in, name, u)
	}
	e.wanted = append(e.wanted, name+".service")
	if in.Listen == export.ListenPort && s.Network == "none" {
		return e.forwards(in, name, u)
	}
	return nil
}

func (e *exporter) tellSleep(in export.Instance) {
	s := in.Service
	switch {
	case s.IdleTimeout == 0:
	case s.ListenFDs:
		e.lose(s, "idle_timeout", s.IdleTimeout.String(), export.Lost, "systemd passes the socket on and sees no connection", "let the program end when it is idle: the next connection starts it")
	case in.Listen != export.ListenPort:
		e.lose(s, "idle_timeout", s.IdleTimeout.String(), export.Lost, "systemd sees connections only at a port of its own", "let it listen at {port}")
	default:
		e.lose(s, "idle_timeout", s.IdleTimeout.String(), export.Converted, "systemd counts from the end of the last connection, not request", "a socket that starts it and a proxy that ends when idle")
		if s.Sleep == "freeze" {
			e.lose(s, "sleep", "freeze", export.Converted, "systemd does not freeze what is idle", "it is stopped")
		}
	}
	if s.MinRunning > 0 {
		e.lose(s, "min_running", strconv.Itoa(s.MinRunning), export.Converted, "each instance is a unit of its own", "the first instances never sleep")
	}
}

// socket writes the socket unit of an instance.
func (e *exporter) socket(in export.Instance, name, listen, starts string) {
	sock := &unit{}
	sock.set("Unit", "Description", "Connections to "+in.Label()+" of "+e.opts.Project)
	sock.set("Unit", "PartOf", e.opts.Project+".target")
	sock.set("Socket", "ListenStream", listen)
	sock.set("Socket", "Backlog", strconv.Itoa(max(in.Service.WakeQueue, 1)))
	if starts != name+".service" {
		sock.set("Socket", "Service", starts)
	}
	e.file("system/"+name+".socket", sock.bytes())
	e.wanted = append(e.wanted, name+".socket")
}

// passes opens the socket for a program that takes it as file 3.
func (e *exporter) passes(in export.Instance, name string, sleeps bool) error {
	listen := in.Socket
	if in.Listen == export.ListenPort {
		listen = "127.0.0.1:" + strconv.Itoa(in.Port)
	}
	e.socket(in, name, listen, name+".service")
	if !sleeps {
		e.wanted = append(e.wanted, name+".service")
	}
	return nil
}

// forwards puts a port before an instance that sleeps, or that has no network to
// be reached by: its first connection starts a proxy of systemd's, that the
// instance, and both end when nobody is connected any more.
func (e *exporter) forwards(in export.Instance, name string, u *unit) error {
	s := in.Service
	port, ok := e.ports.Next(in.Label() + "/front")
	if !ok {
		return e.noPort(in)
	}
	e.losses = append(e.losses, export.Loss{
		Service: s.Name, Field: "port", Value: strconv.Itoa(in.Port), Kind: export.Converted, Why: "systemd has to listen where others connect",
		Instead: "connect to 127.0.0.1:" + strconv.Itoa(port) + " for " + in.Label(),
	})
	e.socket(in, name, "127.0.0.1:"+strconv.Itoa(port), name+"-proxy.service")
	words := []string{"/lib/systemd/systemd-socket-proxyd"}
	proxy := &unit{}
	proxy.set("Unit", "Description", "Connections to "+in.Label()+" of "+e.opts.Project)
	proxy.set("Unit", "Requires", name+".service "+name+".socket")
	proxy.set("Unit", "After", name+".service "+name+".socket")
	if s.IdleTimeout > 0 && !slices.Contains(e.wanted, name+".service") {
		words = append(words, "--exit-idle-time="+seconds(s.IdleTimeout))
		u.set("Unit", "StopWhenUnneeded", "yes")
	}
	if s.Network == "none" {
		proxy.set("Unit", "JoinsNamespaceOf", name+".service")
		proxy.set("Service", "PrivateNetwork", "yes")
	}
	proxy.set("Service", "Type", "notify")
	proxy.set("Service", "ExecStart", command(append(words, "127.0.0.1:"+strconv.Itoa(in.Port))))
	proxy.set("Service", "DynamicUser", "yes")
	proxy.each("Service", wall())
	e.file("system/"+name+"-proxy.service", proxy.bytes())
	return nil
}
