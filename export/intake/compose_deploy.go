package intake

import (
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"path"
	"strconv"

	"github.com/tenement/ten/schema"
)

// readDeploy reads what Compose took over from Swarm.
func (s *container) readDeploy(_ *service, v *tree) {
	s.readFields(v, "deploy.", map[string]reading{
		"mode": nil,
		"replicas": func(_ *service, v *tree) {
			s.readScale(nil, v)
		},
		"resources":      s.readResources,
		"restart_policy": s.readRestartPolicy,
		"update_config":  readUpdateConfig,
	})
}

// readUpdateConfig: one after the other, the new one first, and back by itself is
// how ten replaces.
func readUpdateConfig(s *service, v *tree) {
	other := func(name, ours, why, instead string) reading {
		return func(s *service, v *tree) {
			if v.str() != ours {
				s.lose("deploy.update_config."+name, v.brief(), v.at, why, instead)
			}
		}
	}
	s.readFields(v, "deploy.update_config.", map[string]reading{
		"parallelism":    other("parallelism", "1", "ten replaces one instance after the other", "deploy = \"blue-green\" for all at once"),
		"order":          other("order", "start-first", "ten starts the new one first where both can be there", ""),
		"failure_action": other("failure_action", "rollback", "ten goes back by itself to what was good", ""),
		"monitor":        unsaid("ten looks before the old one goes, not after", "min_healthy")("deploy.update_config.monitor"),
	})
}

func (s *container) readResources(_ *service, v *tree) {
	s.readFields(v, "deploy.resources.", map[string]reading{
		"limits": func(_ *service, v *tree) {
			s.readFields(v, "deploy.resources.limits.", map[string]reading{
				"memory": readMemory,
				"cpus":   unsaid("ten weighs processor time and caps none", "cpu_shares")("deploy.resources.limits.cpus"),
			})
		},
	})
}

func (s *container) readRestartPolicy(_ *service, v *tree) {
	s.readFields(v, "deploy.restart_policy.", map[string]reading{
		"condition": func(_ *service, v *tree) {
			switch v.str() {
			case "any":
				s.set("restart", "always", v.at, "")
			case "on-failure":
				s.set("restart", "on-failure", v.at, "")
			case "none":
				s.set("restart", "never", v.at, "")
			default:
				s.lose("deploy.restart_policy.condition", v.brief(), v.at, "Compose has no such policy", "on-failure")
			}
		},
		"max_attempts": func(_ *service, v *tree) {
			if n, err := strconv.Atoi(v.str()); err == nil && n >= 0 && n <= 1_000_000 {
				s.draft.setting(s.service, "max_restarts", n, v.str(), v.at, "")
				return
			}
			s.lose("deploy.restart_policy.max_attempts", v.brief(), v.at, "it is no number", "")
		},
	})
}

// readScale numbers the instances of a service that has several.
func (s *container) readScale(_ *service, v *tree) {
	s.copies(v.str(), v.at)
}

// copies declares n instances: main where there is one, else 1, 2, 3.
func (s *service) copies(count string, at schema.Position) {
	n, err := strconv.Atoi(count)
	switch {
	case err != nil || n < 0 || n > 1000:
		s.lose("instances", count, at, "it is no number of instances that ten would run", "one")
		return
	case n == 1:
		return
	}
	ids := make([]string, n)
	for i := range ids {
		ids[i] = strconv.Itoa(i + 1)
	}
	s.set("instances", ids, at, fmt.Sprintf("%d of them", n))
}

// unsetDefault leaves out what ten does without being told.
func (s *service) unsetDefault() {
	for _, d := range schema.ServiceDefaults() {
		if v, ok := s.get(d.Field).(int); ok && int64(v) == d.Value {
			s.unset(d.Field)
		} else if s.get(d.Field) == d.Value {
			s.unset(d.Field)
		}
	}
}

// readBeside reads a file beside the foreign one, within the bounds of a config.
func readBeside(tree fs.FS, name string) ([]byte, error) {
	if tree == nil {
		return nil, fmt.Errorf("only files beside a file are looked for, and this is a stream")
	}
	name = path.Clean(name)
	if !fs.ValidPath(name) {
		return nil, fmt.Errorf("it lies outside of the directory")
	}
	f, err := tree.Open(name)
	if err != nil {
		return nil, fmt.Errorf("there is no such file")
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("it is no regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, schema.MaxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	src := Source{Name: name, Data: data}
	if err := readable(src); err != nil {
		return nil, err
	}
	return data, nil
}

func keysOf(m map[string]string) iter.Seq[string] { return maps.Keys(m) }
