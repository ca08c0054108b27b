// Wine 8 has no TCP_KEEPALIVE: a socket that asks for it fails to connect (UNKNOWN), and undici always asks.
require('node:net').Socket.prototype.setKeepAlive = function () {
  return this
}
