// Command etcdmember is the stock etcd server, with all its flags, built from the version that this module pins: the
// member that campaigns start, kill and pause as a process of its own. It promises nothing that etcd doesn't, changes
// nothing about it, and never ships.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
