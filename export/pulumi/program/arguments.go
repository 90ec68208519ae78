package program

import (
	"github.com/pulumi/pulumi-docker/sdk/v4/go/docker"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	tendocker "github.com/tenement/ten/export/docker"
)

// arguments are all of a container that refers to no other resource.
func arguments(c tendocker.Container) *docker.ContainerArgs {
	args := &docker.ContainerArgs{
		Name: pulumi.String(c.Name), Entrypoints: list(c.Entrypoint()), Command: list(c.Command()), Envs: list(c.Env),
		WorkingDir: word(c.Workdir), Init: pulumi.Bool(true), Restart: pulumi.String(c.Restart), MaxRetryCount: number(c.MaxRetries),
		StopSignal: pulumi.String(c.StopSignal), StopTimeout: pulumi.Int(int(c.StopTimeout.Seconds())),
		Memory: number(c.MemoryMB), MemorySwap: number(c.MemoryMB), CpuShares: number(c.CPUShares), Runtime: word(c.Runtime),
	}
	if c.Restart == "no" {
		args.MustRun = pulumi.Bool(false)
	}
	if c.Awaited {
		args.Wait, args.WaitTimeout = pulumi.Bool(true), number(int(c.StartLimit.Seconds()))
	}
	if c.Walled {
		args.ReadOnly, args.SecurityOpts = pulumi.Bool(true), list([]string{"no-new-privileges:true"})
		args.Capabilities = docker.ContainerCapabilitiesArgs{Drops: list([]string{"ALL"})}
	}
	if mounts := (docker.ContainerMountArray{}); len(c.Tmpfs) > 0 {
		for _, dir := range c.Tmpfs {
			mounts = append(mounts, docker.ContainerMountArgs{
				Type: pulumi.String("tmpfs"), Target: pulumi.String(dir), TmpfsOptions: docker.ContainerMountTmpfsOptionsArgs{Mode: pulumi.Int(tendocker.ScratchMode)},
			})
		}
		args.Mounts = mounts
	}
	if c.HostPort != 0 {
		args.Ports = docker.ContainerPortArray{docker.ContainerPortArgs{Internal: pulumi.Int(c.Port), External: pulumi.Int(c.HostPort), Ip: pulumi.String("127.0.0.1")}}
	}
	if h := c.Health; len(h.Test) > 0 {
		args.Healthcheck = healthcheck(h)
	}
	labels := docker.ContainerLabelArray{}
	for _, l := range c.Labels() {
		labels = append(labels, docker.ContainerLabelArgs{Label: pulumi.String(l[0]), Value: pulumi.String(l[1])})
	}
	args.Labels = labels
	return args
}

func healthcheck(h tendocker.Health) docker.ContainerHealthcheckArgs {
	args := docker.ContainerHealthcheckArgs{Tests: list(h.Test)}
	if h.Interval > 0 {
		args.Interval, args.Timeout = pulumi.String(h.Interval.String()), pulumi.String(h.Timeout.String())
		args.StartPeriod, args.Retries = pulumi.String(h.StartPeriod.String()), number(h.Retries)
	}
	return args
}

// What is empty or zero is not said: the zero interface, not an empty value.

func word(s string) pulumi.StringPtrInput {
	if s == "" {
		return nil
	}
	return pulumi.String(s)
}

func number(n int) pulumi.IntPtrInput {
	if n == 0 {
		return nil
	}
	return pulumi.Int(n)
}

func list(words []string) pulumi.StringArrayInput {
	if len(words) == 0 {
		return nil
	}
	return pulumi.ToStringArray(words)
}
