"""Serial over LAN as a BMC speaks it: one outstanding packet, acknowledged or sent again.

IPMI 2.0 sections 15.9 (payload format) and 15.11 (retries).
"""

import time

PAYLOAD_TYPE = 1
#: data bytes a packet, as Activate Payload announces it
PACKET_DATA = 200
#: bytes of output kept for a client that does not acknowledge; older ones are lost
BACKLOG = 65536
#: seconds to an acknowledgement, and how often a packet is sent before the client counts as gone
RETRY_AFTER = 1.0
ATTEMPTS = 6

# the fourth byte of a packet, table 15-2
NACK = 0x40
DEACTIVATING = 0x10
FROM_CONSOLE_BREAK = 0x10


class Sol:
    """The SOL payload, active on one session.

    :param session: the session that holds it; its ``send_payload`` and ``sol_handler`` are used.
    :param typed: callable taking the bytes that the client sends.
    :param on_break: callable, the client sent a serial break.
    """

    def __init__(self, session, typed, on_break, clock=time.monotonic):
        self.session = session
        self._typed = typed
        self._on_break = on_break
        self._clock = clock
        self._output = bytearray()
        self._sequence = 0
        self._remote_sequence = 0
        self._packet = None
        self._sent_at = 0.0
        self._attempts = 0
        session.sol_handler = self._received

    def write(self, data):
        """Queue bytes for the client; never waits."""
        self._output += data
        if len(self._output) > BACKLOG:
            del self._output[:-BACKLOG]
        self._send_next()

    def end(self, tell=False):
        """Stop.  :param tell: bool, let the client know that its SOL was ended."""
        if tell:
            self._transmit(bytearray((0, 0, 0, DEACTIVATING)))
        self.session.sol_handler = None

    def tick(self, now):
        """Send again what was not acknowledged.  :returns: False once the client is gone."""
        if self._packet is None or now - self._sent_at < RETRY_AFTER:
            return True
        if self._attempts >= ATTEMPTS:
            return False
        self._send_packet(now)
        return True

    def _send_next(self):
        if self._packet is not None or not self._output:
            return
        self._sequence = self._sequence % 15 + 1
        chunk = self._output[:PACKET_DATA]
        del self._output[:PACKET_DATA]
        self._packet = bytearray((self._sequence, 0, 0, 0)) + chunk
        self._attempts = 0
        self._send_packet(self._clock())

    def _send_packet(self, now):
        self._sent_at = now
        self._attempts += 1
        self._transmit(self._packet)

    def _transmit(self, payload):
        self.session.send_payload(payload, payload_type=PAYLOAD_TYPE, retry=False)

    def _received(self, payload):
        if len(payload) < 4:
            return
        sequence, acknowledged, accepted, operation = payload[:4]
        if sequence & 15:
            self._accept(sequence & 15, bytes(payload[4:]), operation)
        if self._packet is not None and acknowledged & 15 == self._sequence:
            if operation & NACK:
                self._output[:0] = self._packet[4 + accepted :]
            self._packet = None
            self._send_next()

    def _accept(self, sequence, data, operation):
        repeated, self._remote_sequence = sequence == self._remote_sequence, sequence
        self._transmit(bytearray((0, sequence, len(data), 0)))
        if repeated:
            return
        if operation & FROM_CONSOLE_BREAK:
            self._on_break()
        if data:
            self._typed(data)
