.PHONY: test lint bench fuzz api peers

# Programs and the Debian packages that have them.
DOVECOT = /usr/lib/dovecot/imap=dovecot-imapd /usr/lib/dovecot/pop3=dovecot-pop3d
MAIL = $(DOVECOT) /usr/lib/dovecot/submission-login=dovecot-submissiond postfix=postfix ntlm_auth=winbind
SWIFT = swift-proxy-server=swift-proxy swift-account-server=swift-account swift-container-server=swift-container \
	swift-object-server=swift-object memcached=memcached

# Every test, against the real servers too. On Debian it installs those first, and builds MinIO, which takes some minutes
# once; elsewhere their tests are skipped.
test: peers
	@began=$$(date +%s); race=-race; \
	if [ "$$(go env CGO_ENABLED)" != 1 ]; then race=; echo "no C compiler: testing without the race detector"; fi; \
	echo "go test $$race -shuffle=on -p 3 -timeout=30m ./..."; \
	go test $$race -shuffle=on -p 3 -timeout=30m ./... && \
	echo "cd examples/thirdparty && go test $$race ./..." && (cd examples/thirdparty && go test $$race ./...) && \
	echo "tested in $$(($$(date +%s) - $$began)) s"

peers:
	@.ci/peers $(MAIL) $(SWIFT) npm=npm gcc=gcc,libc6-dev chromium=chromium
	@.ci/peer-azurite
	@.ci/peer-axe
	@.ci/peer-minio

# gofumpt, go vet on all systems, staticcheck, errcheck, errorlint, bodyclose, go.mod tidy, the recorded API.
lint:
	@.ci/lint

# Side by side with the limit and with other programs; BENCH="-scale 0.1 imap-s" runs a part.
bench:
	@.ci/peers $(DOVECOT) mbsync=isync mpop=mpop rclone=rclone
	@.ci/peer-minio
	go run ./bench $(BENCH)

# Each fuzz target for FUZZTIME (30s).
fuzz:
	@.ci/fuzz

# Records the exported API in .ci/api, to be committed with the change that made it.
api:
	go run ./internal/selftest/apilist .ci/api
