package peertest

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// swiftRun runs one server: directory, name. The servers read /etc/swift/swift.conf unless they are told before anything
// else that it is elsewhere.
const swiftRun = `
import os, sys
directory, name = sys.argv[1:]
from swift.common import utils
utils.set_swift_dir(directory)
from swift.common import constraints
constraints.reload_constraints()
from swift.common.wsgi import run_wsgi
more = {}
if name == "object":
    from swift.obj import server
    more["global_conf_callback"] = server.global_conf_callback
sys.exit(run_wsgi(os.path.join(directory, name + ".conf"), name + "-server", verbose=True, **more))
`

// swiftNoXattrs is what swiftRings says of a file system without user xattrs.
const swiftNoXattrs = "no user xattrs"

// swiftRings makes the rings of the three storage servers: directory, ports.
const swiftRings = `
import os, sys
directory, ports = sys.argv[1], sys.argv[2:]
try:
    os.setxattr(os.path.join(directory, "devices", "d1"), "user.swift.test", b"x" * 1000)
except OSError:
    print("` + swiftNoXattrs + `")
    sys.exit(1)
from swift.common.ring import RingBuilder
for name, port in zip(("account", "container", "object"), ports):
    builder = RingBuilder(6, 1, 0)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "d1", "weight": 1,
                     "replication_ip": "127.0.0.1", "replication_port": int(port), "meta": ""})
    builder.rebalance()
    builder.get_ring().save(os.path.join(directory, name + ".ring.gz"))
`

// configure writes the files that the servers read.
func (s *SwiftServer) configure(host string, ports map[string]int) error {
	who, err := user.Current()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(s.dir, "devices", "d1"), 0o700); err != nil {
		return err
	}
	files := map[string]string{
		"swift.conf": fmt.Sprintf("[swift-hash]\nswift_hash_path_prefix = p\nswift_hash_path_suffix = s\n"+
			"[storage-policy:0]\nname = Policy-0\ndefault = yes\n[swift-constraints]\nmax_file_size = %d\n", s.opts.MaxFile),
	}
	// Without a socket for syslog the servers log to the console, which is what we read.
	common := fmt.Sprintf("bind_ip = %s\nuser = %s\nswift_dir = %s\nlog_address = %s\nlog_level = WARNING\nworkers = 0\nconn_timeout = 30\nnode_timeout = 60\n",
		host, who.Username, s.dir, filepath.Join(s.dir, "no-log-socket"))
	for _, name := range swiftServers[:3] {
		files[name+".conf"] = fmt.Sprintf("[DEFAULT]\n%sbind_port = %d\ndevices = %s\nmount_check = false\ndisable_fallocate = true\n"+
			"[pipeline:main]\npipeline = recon %s-server\n[app:%s-server]\nuse = egg:swift#%s\n[filter:recon]\nuse = egg:swift#recon\nrecon_cache_path = %s\n",
			common, ports[name], filepath.Join(s.dir, "devices"), name, name, name, s.dir)
	}
	files["proxy.conf"] = s.proxyConfig(common, host, ports)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (s *SwiftServer) proxyConfig(common, host string, ports map[string]int) string {
	filters := []string{"catch_errors", "gatekeeper", "healthcheck", "proxy-logging", "cache", "listing_formats"}
	if s.opts.RateLimit > 0 {
		filters = append(filters, "ratelimit")
	}
	filters = append(filters, "bulk", "tempurl", "tempauth", "copy", "container_quotas", "account_quotas", "slo", "dlo", "versioned_writes", "symlink", "proxy-logging")
	settings := map[string]string{
		"cache": fmt.Sprintf("memcache_servers = %s:%d\nconnect_timeout = 30\npool_timeout = 30\nio_timeout = 30\nerror_suppression_interval = 0\n",
			host, ports["memcached"]),
		"slo":              "minimum_segment_size = 1\n",
		"versioned_writes": "allow_versioned_writes = true\nallow_object_versioning = true\n",
		"ratelimit":        fmt.Sprintf("container_ratelimit_0 = %g\nmax_sleep_time_seconds = 1\nrate_buffer_seconds = 1\n", s.opts.RateLimit),
		"tempauth": fmt.Sprintf("token_life = %d\nstorage_url_scheme = http\nuser_test_tester = %s .admin\nuser_test_reader = %s\n",
			int(s.opts.TokenLife/time.Second), s.Key, s.Key),
	}
	var b strings.Builder
	fmt.Fprintf(&b, "[DEFAULT]\n%sbind_port = %d\n[pipeline:main]\npipeline = %s proxy-server\n", common, ports["proxy"], strings.Join(filters, " "))
	b.WriteString("[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\nallow_account_management = true\n")
	// A cluster gives its nodes half a second, and one that was slow ten times gets nothing for a minute: 503. Ours has one
	// node, on a machine that may be busy.
	b.WriteString("conn_timeout = 30\nnode_timeout = 60\nrecoverable_node_timeout = 60\nerror_suppression_limit = 1000000\nerror_suppression_interval = 0.001\n")
	if s.opts.RateLimit > 0 {
		b.WriteString("recheck_container_existence = 1\n") // an empty container has no limit
	}
	slices.Sort(filters)
	for _, name := range slices.Compact(filters) {
		egg := strings.ReplaceAll(name, "-", "_")
		if name == "cache" {
			egg = "memcache"
		}
		fmt.Fprintf(&b, "[filter:%s]\nuse = egg:swift#%s\n%s", name, egg, settings[name])
	}
	return b.String()
}
