"""公众号 and 企业微信 on this machine's loopback, for the tests and for `zoudian demo --wechat`. See README.md."""
