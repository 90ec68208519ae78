package systemd

import (
	"fmt"
	"slices"
	"strings"
)

// unit is a unit file in the making: sections in the order in which they come.
type unit struct {
	sections []string
	lines    map[string][]string
}

// set adds a line. The value is written as it is: words have been quoted.
func (u *unit) set(section, key, value string) {
	if u.lines == nil {
		u.lines = map[string][]string{}
	}
	if !slices.Contains(u.sections, section) {
		u.sections = append(u.sections, section)
	}
	u.lines[section] = append(u.lines[section], key+"="+value)
}

// each adds pairs of key and value.
func (u *unit) each(section string, pairs [][2]string) {
	for _, p := range pairs {
		u.set(section, p[0], p[1])
	}
}

func (u *unit) bytes() []byte {
	var b strings.Builder
	b.WriteString("# Made by ten export systemd. Edit the config and export again.\n")
	for _, s := range u.sections {
		fmt.Fprintf(&b, "\n[%s]\n%s\n", s, strings.Join(u.lines[s], "\n"))
	}
	return []byte(b.String())
}
