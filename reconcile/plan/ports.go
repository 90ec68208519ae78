package plan

import (
	"fmt"
	"slices"

	"github.com/tenement/ten/runtimes"
	"github.com/tenement/ten/schema"
)

// ports settles the starts whose fixed port somebody has. An instance's own
// incarnations don't count: they go before the new one comes. A program that ten
// does not manage blocks. One of ours may be about to free the port in this very
// plan: an instance that is removed hands it over, and one that moves to another
// port goes first.
func (r *round) ports() {
	r.takes = map[int]int{}
	h := &handover{round: r, removes: map[runtimes.ID]int{}, moves: map[runtimes.ID]int{}, state: map[int]int{}}
	wanted := map[int]runtimes.ID{}
	for i := range r.actions {
		switch a := &r.actions[i]; {
		case a.Op == OpRemove:
			h.removes[a.ID] = i
		case !a.starts():
		case a.Op == OpRestart || a.Op == OpReplace:
			h.moves[a.ID] = i
		}
	}
	for i := range r.actions {
		a := &r.actions[i]
		if !a.starts() || a.Spec.Port == 0 {
			continue
		}
		h.settle(i)
		if first, twice := wanted[a.Spec.Port]; twice && first != a.ID && a.Blocked == nil {
			a.Blocked = &Block{
				Code: BlockPortTaken,
				Text: fmt.Sprintf("port %d is what %s starts with too", a.Spec.Port, first),
				Hint: "an instance beyond the first needs a port of its own: leave port out, and ten chooses",
			}
		} else if a.Blocked == nil {
			wanted[a.Spec.Port] = a.ID
		}
	}
}

type handover struct {
	*round
	removes, moves map[runtimes.ID]int // index of the action
	state          map[int]int         // of an action: visiting, settled
}

const (
	visiting = 1
	settled  = 2
)

// settle decides about one action, after the one that frees its port.
func (h *handover) settle(i int) {
	a := &h.actions[i]
	if h.state[i] != 0 || a.Blocked != nil || !a.starts() || a.Spec.Port == 0 {
		return
	}
	holder, taken := h.o.Host.Ports[a.Spec.Port]
	if !taken || holder.Instance == a.ID {
		return
	}
	h.state[i] = visiting
	defer func() { h.state[i] = settled }()
	if holder.Instance == (runtimes.ID{}) {
		a.Blocked = foreign(a.Spec.Port, holder)
		return
	}
	if j, ok := h.removes[holder.Instance]; ok && h.actions[j].Blocked == nil {
		a.Old = slices.Concat(h.actions[j].Old, a.Old)
		if a.Op == OpRestart { // which would stop the other one too late
			a.Op = OpReplace
		}
		a.Reason.Text += fmt.Sprintf("; takes port %d over from %s, which stops first", a.Spec.Port, holder.Instance)
		return
	}
	if j, ok := h.moves[holder.Instance]; ok && h.actions[j].Spec.Port != a.Spec.Port && h.state[j] != visiting {
		h.settle(j)
		if h.actions[j].Blocked == nil && !h.actions[j].NotBefore.After(h.o.Now) && !h.reaches(holder.Instance.Service, a.ID.Service) {
			dep := schema.Dependency{Service: holder.Instance.Service, Condition: schema.ConditionStarted}
			h.needs[a.ID.Service] = append(slices.Clip(h.needs[a.ID.Service]), dep)
			h.takes[i] = j
			a.Reason.Text += fmt.Sprintf("; takes port %d over from %s, which moves first", a.Spec.Port, holder.Instance)
			return
		}
	}
	a.Blocked = held(a.Spec.Port, holder.Instance)
}

func held(port int, by runtimes.ID) *Block {
	return &Block{
		Code: BlockPortTaken,
		Text: fmt.Sprintf("port %d is held by %s", port, by),
		Hint: "give one of the two another port first, or none: then ten chooses",
	}
}

func foreign(port int, holder Holder) *Block {
	who := holder.Command
	if who == "" {
		who = "another program"
	}
	if holder.Pid != 0 {
		who += fmt.Sprintf(" (pid %d)", holder.Pid)
	}
	return &Block{
		Code: BlockPortTaken,
		Text: fmt.Sprintf("port %d is held by %s, which ten does not manage", port, who),
		Hint: "stop it, or choose another port",
	}
}

// reaches reports that one service waits for another, over any number of steps.
func (r *round) reaches(from, to string) bool {
	seen := map[string]bool{}
	next := []string{from}
	for len(next) > 0 {
		name := next[len(next)-1]
		next = next[:len(next)-1]
		if name == to {
			return true
		}
		if seen[name] {
			continue
		}
		seen[name] = true
		for _, dep := range r.needs[name] {
			next = append(next, dep.Service)
		}
	}
	return false
}
