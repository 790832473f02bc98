//go:build tools

// Pins the S3 server of the tests: go.sum holds the hash of everything that it is built from.
package tools

import _ "github.com/versity/versitygw/cmd/versitygw"
