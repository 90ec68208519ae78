package load

import (
	"fmt"
	"slices"

	"github.com/tenement/ten/schema"
)

// nodes gives a unit's tree, read again when it is only remembered: places are
// needed when something must be reported, and kept no longer.
func (r *run) nodes(u *unit) (*node, error) {
	if u.root != nil {
		return u.root, nil
	}
	if u.reply != nil {
		var err error
		u.root, err = r.replyTree(u.reply)
		return u.root, err
	}
	file, err := r.read(ref{u.path, u.id})
	if err != nil {
		return nil, err
	}
	if file == nil {
		return nil, fmt.Errorf("read %s: it grew while it was being read", u.path)
	}
	u.root, _ = parseTOML(file)
	if u.root == nil {
		return nil, fmt.Errorf("read %s: it changed while it was being read", u.path)
	}
	return u.root, nil
}

// reread gives a remembered declaration its values again.
func (r *run) reread(d *declared) error {
	root, err := r.nodes(d.unit)
	if err != nil {
		return err
	}
	again := &unit{path: d.unit.path, id: d.unit.id}
	quiet := *r.checker
	quiet.report = func(...schema.Problem) {} // it was found good before
	if d.table == "" {
		quiet.soleService(again, root)
	} else {
		quiet.oneOf(again, d.table, d.name, root.find(d.path...))
	}
	i := slices.IndexFunc(again.services, func(o *declared) bool { return o.name == d.name && !o.bad })
	if i < 0 {
		return fmt.Errorf("read %s: service %s changed while it was being read", d.unit.path, d.name)
	}
	d.values = again.services[i].values
	return quiet.err
}

// forget drops what only a run needs.
func (u *unit) forget() {
	u.root = nil
	for _, d := range u.services {
		d.values = nil
	}
}
