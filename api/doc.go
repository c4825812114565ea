// Package api is the outside of a node: gRPC and HTTP/JSON with the same
// methods, the method table, limits and errors. Every call goes through invoke,
// and everything that is audited through the log.
package api
