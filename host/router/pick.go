package router

import "slices"

// pick chooses among what may answer a request: the instance, and which of its
// incarnations. b is nil where the instance has to be woken; e is nil where there
// is nothing to choose. random decides; tried are those that could not be reached.
func (t *Table) pick(m *Match, random uint64, tried []*backend) (e *entry, b *backend) {
	s, ok := t.services.get(m.ID.Service)
	if !ok {
		return nil, nil
	}
	if m.Kind == Direct {
		if e, ok = s.entries.get(m.ID.Instance); !ok {
			return nil, nil
		}
		return e, e.pick(random, tried)
	}
	e = s.pick(random)
	if e != nil && len(tried) > 0 && e.exhausted(tried) {
		if other := s.other(tried); other != nil {
			e = other
		}
	}
	if e == nil {
		return nil, nil
	}
	return e, e.pick(random, tried)
}

// pick chooses an instance by weight; nil where none has any. One that is down
// and not asleep gets nothing while another serves.
func (s *service) pick(random uint64) *entry {
	l := s.entries.load()
	total, of := l.serving, servingOf
	if s.sleeps || total == 0 {
		total, of = l.serving+l.asleep, allOf
	}
	if total <= 0 {
		return nil
	}
	e, _ := s.entries.at(int64(random%uint64(total)), of)
	return e
}

func servingOf(l load) int64 { return l.serving }

func allOf(l load) int64 { return l.serving + l.asleep }

// other chooses an instance that serves and was not tried, nil where all were.
func (s *service) other(tried []*backend) (other *entry) {
	s.entries.each(func(_ string, e *entry) bool {
		if e.Weight > 0 && e.serves() && !e.exhausted(tried) {
			other = e
		}
		return other == nil
	})
	return other
}

// exhausted reports whether every incarnation that takes requests was tried.
func (e *entry) exhausted(tried []*backend) bool {
	if !e.serves() {
		return false
	}
	for i, b := range e.backends {
		if e.takes(i) && !slices.Contains(tried, b) {
			return false
		}
	}
	return true
}

// takes reports whether an incarnation gets new requests.
func (e *entry) takes(i int) bool { return !e.Serving[i].Draining && e.Serving[i].Share > 0 }

// pick chooses an incarnation by share, an untried one where there is one; nil
// while none takes requests.
func (e *entry) pick(random uint64, tried []*backend) *backend {
	if !e.serves() {
		return nil
	}
	point := int(random >> 32 % uint64(e.share))
	var chosen, untried *backend
	for i, b := range e.backends {
		if !e.takes(i) {
			continue
		}
		if chosen == nil && point < e.Serving[i].Share {
			chosen = b
		}
		point -= e.Serving[i].Share
		if untried == nil && !slices.Contains(tried, b) {
			untried = b
		}
	}
	if untried != nil && slices.Contains(tried, chosen) {
		return untried
	}
	return chosen
}
