package plan

import (
	"fmt"
	"slices"

	"github.com/tenement/ten/runtimes"
)

// guard counts what vanishes. More than a quarter of the instances found, and
// more than three, need a person's word.
func (r *round) guard() *Guard {
	limit := max(3, r.declared/4)
	if len(r.removed) <= limit || r.o.Approved || r.d.Model.Settings.AllowRemovals {
		return nil
	}
	return &Guard{Removed: r.removed, Declared: r.declared, Limit: limit}
}

// starts reports that an action puts a new process on the host.
func (a *Action) starts() bool {
	if a.New != nil {
		return false
	}
	return a.Op == OpCreate || a.Op == OpStart || a.Op == OpRestart || a.Op == OpReplace
}

// supervises reports that an action keeps up what runs, rather than changing it:
// a pause and a guard hold changes and let supervision go on.
func (a *Action) supervises() bool {
	if a.Drift || a.Reason.Code == Woken {
		return true
	}
	return a.Op == OpCreate && a.New != nil
}

// block marks every action that can't be carried out now with the first reason.
// A change that must wait does not keep a program down: what ended starts again
// as it was.
func (r *round) block(guard *Guard) {
	actions := r.actions
	r.actions = make([]Action, 0, len(actions))
	for _, a := range actions {
		if a.Blocked = r.blocked(&a, guard); a.Blocked != nil {
			if again := r.asBefore(&a); again != nil {
				r.actions = append(r.actions, *again)
			}
		} else if a.starts() && len(a.Changes) > 0 && a.supervises() && r.held(&a, guard) != nil {
			if again := r.asBefore(&a); again != nil {
				a = *again
			}
		}
		r.actions = append(r.actions, a)
	}
}

// asBefore is the start of an ended incarnation with the Spec that it had, or
// nil where something of it runs, its policy leaves it or that can't be done.
// Its port and socket are those it had: its command line names them.
func (r *round) asBefore(a *Action) *Action {
	if !a.starts() || len(a.Old) == 0 || len(a.Changes) == 0 {
		return nil
	}
	for _, key := range a.Old {
		if i := r.find(key); i == nil || i.Phase.Alive() || i.Phase == runtimes.Sleeping {
			return nil
		}
	}
	last := r.find(a.Old[len(a.Old)-1])
	s := r.d.Model.Service(a.ID.Service)
	if s == nil || !restarts(s, last) {
		return nil
	}
	again := again(last, a.Old)
	again.NotBefore = r.backoff(endedAt(last), last.Restarts)
	if r.unknown(&again) != nil || r.unsupported(again.Spec.Level) != nil {
		return nil
	}
	return &again
}

func (r *round) blocked(a *Action, guard *Guard) *Block {
	if b := r.unknown(a); b != nil {
		return b
	}
	if !a.supervises() {
		if b := r.held(a, guard); b != nil {
			return b
		}
	}
	if b := r.unfreezable(a); b != nil {
		return b
	}
	if !a.starts() {
		return nil
	}
	if b := r.unsupported(a.Spec.Level); b != nil {
		return b
	}
	return r.command(a.ID.Service)
}

// held says what keeps a change of this instance waiting for a person.
func (r *round) held(a *Action, guard *Guard) *Block {
	if b := r.paused(a); b != nil || guard == nil {
		return b
	}
	return &Block{
		Code: BlockGuard,
		Text: fmt.Sprintf("%d of %d instances would be removed; more than %d need a person's word", len(guard.Removed), guard.Declared, guard.Limit),
		Hint: "ten approve " + short(r.d.Revision),
	}
}

// unknown blocks what concerns a level that could not be asked.
func (r *round) unknown(a *Action) *Block {
	if len(r.o.Unknown) == 0 {
		return nil
	}
	levels := []runtimes.Level{}
	if a.Spec != nil {
		levels = append(levels, a.Spec.Level)
	}
	for _, key := range a.Old {
		if i := r.find(key); i != nil {
			levels = append(levels, i.Spec.Level)
		}
	}
	for _, level := range levels {
		if why, ok := r.o.Unknown[level]; ok {
			return &Block{
				Code: BlockLevelUnknown,
				Text: fmt.Sprintf("what runs at isolation level %q can't be asked: %s", level, why),
				Hint: "ten doctor",
			}
		}
	}
	return nil
}

func (r *round) find(key runtimes.Key) *Instance {
	i, ok := slices.BinarySearchFunc(r.found, key, func(i Instance, k runtimes.Key) int { return compareKeys(i.Spec.Key, k) })
	if !ok {
		return nil
	}
	return &r.found[i]
}

func (r *round) paused(a *Action) *Block {
	why, ok := r.o.Paused["*"]
	what, hint := "the host is paused", "ten resume"
	if !ok {
		why, ok = r.o.Paused[a.ID.Service]
		what, hint = a.ID.Service+" is paused", "ten resume "+a.ID.Service
	}
	if !ok {
		return nil
	}
	if why != "" {
		what += ": " + why
	}
	return &Block{Code: BlockPaused, Text: what, Hint: hint}
}

// unsupported blocks a start at a level that does not work on this host.
func (r *round) unsupported(level runtimes.Level) *Block {
	s := r.o.Host.Levels[level]
	if r.o.Host.Levels == nil || s.OK {
		return nil
	}
	if s.Reason == "" {
		s.Reason = "this build does not know it"
	}
	return &Block{
		Code: BlockLevelUnsupported,
		Text: fmt.Sprintf("isolation level %q does not work here: %s", level, s.Reason),
		Hint: s.Hint,
	}
}

// command blocks a start whose program can't be found.
func (r *round) command(service string) *Block {
	if s := r.d.Model.Service(service); s != nil && len(s.Args) == 0 {
		if _, err := SplitCommand(s.Command); err != nil {
			return &Block{Code: BlockCommandNotFound, Text: err.Error()}
		}
	}
	why, ok := r.o.Host.Commands[service]
	if !ok {
		return nil
	}
	return &Block{
		Code: BlockCommandNotFound,
		Text: why,
		Hint: "install it, or give the path of the program in command",
	}
}
