//go:build !unix

package connection

func isQuota(error) bool { return false }
