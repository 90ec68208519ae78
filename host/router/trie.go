package router

import (
	"hash/maphash"
	"math/bits"
)

// load is how much of a service's traffic asks for what lies beneath a node.
type load struct {
	serving int64 // weights of those that serve
	asleep  int64 // weights of those that a request would have to start
}

func (l load) plus(other load) load {
	return load{l.serving + other.serving, l.asleep + other.asleep}
}

// loaded is what a trie holds: something with a share of the traffic.
type loaded interface{ load() load }

// trie is a persistent map: with and without give a new one that shares all but
// the way to the changed key, so a change costs the logarithm of the size. Each
// node carries the load beneath it, so one can be picked by weight as quickly.
type trie[V loaded] struct {
	seed maphash.Seed
	root *node[V]
}

const (
	fanBits = 5 // 32 children: small copies, and 10,000 keys lie three steps down
	fanMask = 1<<fanBits - 1
)

type node[V loaded] struct {
	present uint32
	kids    []kid[V]
	load    load
	size    int
}

// kid is one child: a leaf, or a node.
type kid[V loaded] struct {
	leaf *leaf[V]
	node *node[V]
}

type leaf[V loaded] struct {
	hash uint64
	key  string
	val  V
	next *leaf[V] // same hash, all 64 bits of it
}

func newTrie[V loaded](seed maphash.Seed) trie[V] { return trie[V]{seed: seed} }

// size is how many keys there are.
func (t trie[V]) size() int {
	if t.root == nil {
		return 0
	}
	return t.root.size
}

// load is the sum over all keys.
func (t trie[V]) load() load {
	if t.root == nil {
		return load{}
	}
	return t.root.load
}

// get finds a key's value. It keeps no hold of key.
func (t trie[V]) get(key string) (val V, ok bool) {
	if t.root == nil {
		return val, false
	}
	hash := maphash.String(t.seed, key)
	n := t.root
	for shift := uint(0); ; shift += fanBits {
		bit := uint32(1) << (hash >> shift & fanMask)
		if n.present&bit == 0 {
			return val, false
		}
		k := n.kids[bits.OnesCount32(n.present&(bit-1))]
		if k.node != nil {
			n = k.node
			continue
		}
		for l := k.leaf; l != nil; l = l.next {
			if l.hash == hash && l.key == key {
				return l.val, true
			}
		}
		return val, false
	}
}

// with gives a trie in which key has val.
func (t trie[V]) with(key string, val V) trie[V] {
	l := &leaf[V]{hash: maphash.String(t.seed, key), key: key, val: val}
	t.root = t.root.with(l, 0)
	return t
}

func (n *node[V]) with(l *leaf[V], shift uint) *node[V] {
	bit := uint32(1) << (l.hash >> shift & fanMask)
	if n == nil {
		return branch(bit, kid[V]{leaf: l})
	}
	at := bits.OnesCount32(n.present & (bit - 1))
	if n.present&bit == 0 {
		kids := make([]kid[V], len(n.kids)+1)
		copy(kids, n.kids[:at])
		kids[at] = kid[V]{leaf: l}
		copy(kids[at+1:], n.kids[at:])
		return branch(n.present|bit, kids...)
	}
	kids := append([]kid[V](nil), n.kids...)
	switch old := kids[at]; {
	case old.node != nil:
		kids[at].node = old.node.with(l, shift+fanBits)
	case old.leaf.hash == l.hash:
		l.next = old.leaf.without(l.key)
		kids[at].leaf = l
	default:
		kids[at] = kid[V]{node: fork(old.leaf, l, shift+fanBits)}
	}
	return branch(n.present, kids...)
}

// fork makes the node that tells two leaves apart. Their hashes differ, so one
// of the steps does.
func fork[V loaded](a, b *leaf[V], shift uint) *node[V] {
	stepA, stepB := a.hash>>shift&fanMask, b.hash>>shift&fanMask
	if stepA == stepB {
		return branch(1<<stepA, kid[V]{node: fork(a, b, shift+fanBits)})
	}
	if stepA > stepB {
		a, b = b, a
	}
	return branch(1<<stepA|1<<stepB, kid[V]{leaf: a}, kid[V]{leaf: b})
}

// without gives a trie that lacks key.
func (t trie[V]) without(key string) trie[V] {
	if t.root != nil {
		t.root = t.root.without(maphash.String(t.seed, key), key, 0)
	}
	return t
}

func (n *node[V]) without(hash uint64, key string, shift uint) *node[V] {
	bit := uint32(1) << (hash >> shift & fanMask)
	if n.present&bit == 0 {
		return n
	}
	at := bits.OnesCount32(n.present & (bit - 1))
	kids := append([]kid[V](nil), n.kids...)
	if k := kids[at]; k.node != nil {
		kids[at].node = k.node.without(hash, key, shift+fanBits)
	} else {
		kids[at].leaf = k.leaf.without(key)
	}
	present := n.present
	if kids[at] == (kid[V]{}) {
		kids = append(kids[:at], kids[at+1:]...)
		present &^= bit
	}
	if len(kids) == 0 {
		return nil
	}
	return branch(present, kids...)
}

// without gives the chain lacking key.
func (l *leaf[V]) without(key string) *leaf[V] {
	if l == nil {
		return nil
	}
	if l.key == key {
		return l.next
	}
	rest := l.next.without(key)
	if rest == l.next {
		return l
	}
	return &leaf[V]{hash: l.hash, key: l.key, val: l.val, next: rest}
}

// branch makes a node and adds up what lies beneath it.
func branch[V loaded](present uint32, kids ...kid[V]) *node[V] {
	n := &node[V]{present: present, kids: kids}
	for _, k := range kids {
		if k.node != nil {
			n.size += k.node.size
			n.load = n.load.plus(k.node.load)
		}
		for l := k.leaf; l != nil; l = l.next {
			n.size++
			n.load = n.load.plus(l.val.load())
		}
	}
	return n
}

// at gives the value that lies at a point of the load, counted from 0 in the
// order of the trie; of says which part of a load counts.
func (t trie[V]) at(point int64, of func(load) int64) (val V, ok bool) {
	n := t.root
	for n != nil {
		var next *node[V]
		for _, k := range n.kids {
			if k.node != nil {
				if w := of(k.node.load); point >= w {
					point -= w
					continue
				}
				next = k.node
				break
			}
			for l := k.leaf; l != nil; l = l.next {
				w := of(l.val.load())
				if point < w {
					return l.val, true
				}
				point -= w
			}
		}
		n = next
	}
	return val, false
}

// each calls f for all, until it returns false.
func (t trie[V]) each(f func(key string, val V) bool) { t.root.each(f) }

func (n *node[V]) each(f func(key string, val V) bool) bool {
	if n == nil {
		return true
	}
	for _, k := range n.kids {
		if !k.node.each(f) {
			return false
		}
		for l := k.leaf; l != nil; l = l.next {
			if !f(l.key, l.val) {
				return false
			}
		}
	}
	return true
}
