// Package docker says a model as what one Docker host holds: a network, images,
// volumes and a container for each instance, in Docker's own units. It knows no
// tool that makes them; terraform and pulumi write down the same Host, each in
// its own words, so that what the two make can not differ.
package docker
