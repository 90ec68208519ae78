// Package systemd exports a model as units of systemd: a service for each
// instance with its wall as settings of its own, a user and a data directory for
// it, and sockets where an instance is started by its first connection. systemd
// 252 and later take all of it.
package systemd

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/tenement/ten/export"
	"github.com/tenement/ten/schema"
)

// Target is the export to systemd.
func Target() export.Target {
	return export.Target{
		Name: "systemd", Short: "units, sockets, users and directories for one Linux host",
		Export: run, Uses: uses(),
	}
}

// exporter is one run.
type exporter struct {
	model   *schema.Model
	opts    export.Options
	layout  export.Layout
	ports   export.Ports
	units   export.Names
	users   export.Names
	telling bool // the first instance of a service tells what is lost for all
	losses  []export.Loss

	bundle   export.Bundle
	sysusers strings.Builder
	tmpfiles strings.Builder
	wanted   []string // units that the target starts
	builds   []string
}

func run(m *schema.Model, o export.Options) (export.Bundle, []export.Loss, error) {
	e := &exporter{model: m, opts: o}
	e.layout = export.Layout{
		Target: "systemd", Code: "/opt/" + o.Project, Data: "/var/lib/" + o.Project,
		Sockets: "/run/" + o.Project + "-{name}-{id}",
		Port:    func(*schema.Service, string) int { return export.ContainerPort }, // until all are known
	}
	e.units.Layout, e.users.Layout = e.layout, e.layout
	all, losses, err := export.Instances(m, e.layout)
	if err != nil {
		return export.Bundle{}, nil, err
	}
	e.losses = losses
	ports, err := e.choosePorts(all)
	if err != nil {
		return export.Bundle{}, nil, err
	}
	e.layout.Port = func(s *schema.Service, id string) int { return ports[s.Name+":"+id] }
	fmt.Fprintf(&e.sysusers, "# Made by ten export systemd.\n")
	fmt.Fprintf(&e.tmpfiles, "# Made by ten export systemd.\n")
	for _, in := range all {
		layout := e.layout
		layout.Code = path.Join("/opt", o.Project, in.Service.Source)
		in, err := export.Resolve(m, in.Service, in.ID, layout)
		if err == nil {
			err = e.instance(in)
		}
		if err != nil {
			return export.Bundle{}, nil, err
		}
	}
	e.finish()
	return e.bundle, e.losses, nil
}

// choosePorts gives each instance the port where its program listens. They share
// one host, so a port that a service fixes has room for one instance.
func (e *exporter) choosePorts(all []export.Instance) (map[string]int, error) {
	ports := map[string]int{}
	for _, in := range all {
		if in.Service.Port == 0 || in.Listen != export.ListenPort || in.Service.Network == schema.NetworkNone {
			continue
		}
		if other, ok := e.ports.Fix(in.Label(), in.Port); !ok {
			return nil, e.layout.Refuse(in.Service, "port", strconv.Itoa(in.Port), other+" listens there", "give it another port, or leave port out")
		}
	}
	for _, in := range all {
		switch {
		case in.Listen != export.ListenPort:
		case in.Service.Port != 0:
			ports[in.Label()] = in.Service.Port
		case in.Service.Network == schema.NetworkNone:
			ports[in.Label()] = export.ContainerPort
		default:
			port, ok := e.ports.Next(in.Label())
			if !ok {
				return nil, e.noPort(in)
			}
			ports[in.Label()] = port
		}
	}
	return ports, nil
}

func (e *exporter) noPort(in export.Instance) error {
	return e.layout.Refuse(in.Service, "instances", strconv.Itoa(len(in.Service.Instances)), "one host has no port left for them", "split it into several projects")
}

func (e *exporter) lose(s *schema.Service, field, value string, kind export.Kind, why, instead string) {
	if e.telling {
		e.losses = append(e.losses, export.Loss{Service: s.Name, Field: field, Value: value, Kind: kind, Why: why, Instead: instead})
	}
}

func (e *exporter) file(name string, data []byte) {
	e.bundle.Files = append(e.bundle.Files, export.File{Path: name, Data: data})
}

// unitName is what the units of an instance are called, without a suffix.
func (e *exporter) unitName(service, id string) string {
	return e.opts.Project + "-" + service + "-" + id
}

// judge refuses what systemd builds no wall for, and says what is weaker. It is
// asked once for each service.
func (e *exporter) judge(in export.Instance) error {
	s := in.Service
	switch s.Isolation {
	case "sandbox", "vm", "wasm":
		return e.layout.Refuse(s, "isolation", string(s.Isolation), "systemd walls a program off on the host's own kernel", `isolation = "namespace", or ten export compose for a sandbox`)
	case "process":
		e.lose(s, "isolation", "process", export.Converted, "there is no daemon whose user it could have", "it runs as root: set User= in a drop-in")
	default:
		e.lose(s, "isolation", "namespace", export.Converted, "systemd before 257 gives no process namespace of its own", "ProtectProc=invisible: processes of others are hidden")
	}
	if s.ListenFDs && in.Listen == export.ListenNowhere {
		return e.layout.Refuse(s, "listen_fds", "true", "health none says that it listens nowhere", "leave one of them out")
	}
	for _, f := range [][2]string{{"settings.data_dir", in.Data}, {"socket", in.Socket}} {
		if !isPlain(f[1]) {
			return e.layout.Refuse(s, f[0], strconv.Quote(f[1]), "systemd has no way to write such a path in its lists", "letters, digits and -_./:@+=, alone")
		}
	}
	return nil
}

// finish writes the files that all instances share.
func (e *exporter) finish() {
	p := e.opts.Project
	target := &unit{}
	target.set("Unit", "Description", "All of "+p)
	slices.Sort(e.wanted)
	for _, name := range e.wanted {
		target.set("Unit", "Wants", name)
	}
	target.set("Install", "WantedBy", "multi-user.target")
	e.file("system/"+p+".target", target.bytes())
	e.bundle.Steps = append(e.bundle.Steps, "git clone "+shellQuote(path.Join(".", e.opts.Root))+" /opt/"+p)
	for _, name := range e.builds {
		e.bundle.Steps = append(e.bundle.Steps, "sh "+name)
	}
	if strings.Count(e.sysusers.String(), "\n") > 1 {
		e.file("sysusers.d/"+p+".conf", []byte(e.sysusers.String()))
		e.bundle.Steps = append(e.bundle.Steps, "cp sysusers.d/"+p+".conf /etc/sysusers.d/ && systemd-sysusers")
	}
	if strings.Count(e.tmpfiles.String(), "\n") > 1 {
		e.file("tmpfiles.d/"+p+".conf", []byte(e.tmpfiles.String()))
		e.bundle.Steps = append(e.bundle.Steps, "cp tmpfiles.d/"+p+".conf /etc/tmpfiles.d/ && systemd-tmpfiles --create "+p+".conf")
	}
	e.bundle.Steps = append(e.bundle.Steps, "cp system/* /etc/systemd/system/ && systemctl daemon-reload && systemctl enable --now "+p+".target")
}
