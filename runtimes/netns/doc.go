// Package netns makes connections inside the network namespaces of others. A
// socket belongs for good to the namespace it was made in, so a thread visits
// only for the moment of making one; all that follows, waiting included, is
// ordinary network code outside. It works on Linux only.
package netns
