"""Callbacks as the platforms send them: the XML of messages and events, encrypted and signed with the account's keys.

The encryption is wechatpy's own, without our guard, so what the guard opens was not made by it.
"""

import itertools
import secrets
import time
from typing import Any
from xml.sax.saxutils import escape

import xmltodict
from wechatpy.enterprise.crypto import WeChatCrypto
from wechatpy.utils import WeChatSigner


class Signer:
    """The platform's side of the keys. `timestamp`, `nonce` and `signature` may be forged in every method."""

    def __init__(self, token: str, aes_key: str, receive_id: str) -> None:
        self._token = token
        self._crypto = WeChatCrypto(token, aes_key, receive_id)
        self._receive_id = receive_id

    def seal(
        self, xml: str, *, timestamp: int | None = None, nonce: str | None = None, signature: str | None = None
    ) -> tuple[dict[str, str], bytes]:
        """(query, body) of a POST."""
        at = str(int(time.time()) if timestamp is None else timestamp)
        once = nonce or str(secrets.randbelow(10**10))
        envelope = xmltodict.parse(self._crypto.encrypt_message(xml, once, at))["xml"]
        query = {
            "msg_signature": signature or envelope["MsgSignature"],
            "timestamp": at,
            "nonce": once,
            "encrypt_type": "aes",
            "signature": self.plain_signature(at, once),
        }
        body = (
            f"<xml><ToUserName><![CDATA[{self._receive_id}]]></ToUserName>"
            f"<Encrypt><![CDATA[{envelope['Encrypt']}]]></Encrypt></xml>"
        )
        return query, body.encode()

    def sign(self, encrypted: str, *, timestamp: int | None = None, nonce: str = "1") -> tuple[dict[str, str], bytes]:
        """(query, body) around anything at all as the encrypted part, correctly signed: what a leaked token allows."""
        at = str(int(time.time()) if timestamp is None else timestamp)
        query = {"msg_signature": self.plain_signature(at, nonce, encrypted), "timestamp": at, "nonce": nonce}
        return query, f"<xml><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>".encode()

    def plain(self, xml: str, *, timestamp: int | None = None, nonce: str = "1") -> tuple[dict[str, str], bytes]:
        """(query, body) in 明文 mode."""
        at = str(int(time.time()) if timestamp is None else timestamp)
        return {"signature": self.plain_signature(at, nonce), "timestamp": at, "nonce": nonce}, xml.encode()

    def echo(self, text: str, *, timestamp: int | None = None) -> dict[str, str]:
        """The query with which 企业微信 verifies an address; `text` has to come back bare."""
        at = str(int(time.time()) if timestamp is None else timestamp)
        envelope = xmltodict.parse(self._crypto.encrypt_message(text, "77", at))["xml"]
        return {
            "msg_signature": envelope["MsgSignature"],
            "timestamp": at,
            "nonce": "77",
            "echostr": envelope["Encrypt"],
        }

    def plain_echo(self, text: str, *, timestamp: int | None = None) -> dict[str, str]:
        """The query with which a 公众号 verifies an address."""
        at = str(int(time.time()) if timestamp is None else timestamp)
        return {"signature": self.plain_signature(at, "77"), "timestamp": at, "nonce": "77", "echostr": text}

    def plain_signature(self, *parts: str) -> str:
        signer = WeChatSigner()
        signer.add_data(self._token, *parts)
        return str(signer.signature)

    def open_reply(self, body: str) -> dict[str, Any]:
        """The fields of a passive reply, decrypted; its signature is checked."""
        envelope = xmltodict.parse(body)["xml"]
        xml = self._crypto.decrypt_message(body, envelope["MsgSignature"], envelope["TimeStamp"], envelope["Nonce"])
        return dict(xmltodict.parse(xml)["xml"])


class Messages:
    """What one account's people send, as XML. `agent_id` is 企业微信's. Each message has a number of its own."""

    def __init__(self, to: str, agent_id: str = "") -> None:
        self._to = to
        self._agent_id = agent_id
        self._numbers = itertools.count(7_000_000_000_000_001)

    def text(self, sender: str, content: str, *, at: int | None = None, **more: str) -> str:
        return self.message(sender, "text", at, Content=content, **more)

    def image(self, sender: str, media_id: str, *, at: int | None = None) -> str:
        return self.message(sender, "image", at, PicUrl="http://127.0.0.1/pic", MediaId=media_id)

    def voice(self, sender: str, media_id: str, *, at: int | None = None, wide: str = "", form: str = "amr") -> str:
        """`wide` is the id of the 16 kHz recording that newer clients send along."""
        more = {"MediaId16K": wide} if wide else {}
        return self.message(sender, "voice", at, MediaId=media_id, Format=form, **more)

    def video(self, sender: str, media_id: str, *, at: int | None = None) -> str:
        return self.message(sender, "video", at, MediaId=media_id, ThumbMediaId=f"{media_id}T")

    def location(self, sender: str, lat: float, lon: float, *, label: str = "", at: int | None = None) -> str:
        """A pin, in whatever datum the phone uses."""
        place = {"Location_X": f"{lat:.6f}", "Location_Y": f"{lon:.6f}", "Scale": "15", "Label": label}
        return self.message(sender, "location", at, **place)

    def link(self, sender: str, title: str, url: str, *, at: int | None = None) -> str:
        return self.message(sender, "link", at, Title=title, Description="", Url=url)

    def position(self, sender: str, lat: float, lon: float, precision: float, *, at: int | None = None) -> str:
        """The app's own report of where the phone is."""
        place = {"Latitude": f"{lat:.6f}", "Longitude": f"{lon:.6f}", "Precision": f"{precision:.6f}"}
        return self.event(sender, "LOCATION", at=at, **place)

    def event(self, sender: str, name: str, *, at: int | None = None, raw: str = "", **fields: str) -> str:
        """`raw` is XML that is put in as it is, for events with fields inside fields."""
        return self._whole(sender, "event", at, {"Event": name, **fields}, raw)

    def message(self, sender: str, kind: str, at: int | None = None, **fields: str) -> str:
        return self._whole(sender, kind, at, {**fields, "MsgId": str(next(self._numbers))}, "")

    def _whole(self, sender: str, kind: str, at: int | None, fields: dict[str, str], raw: str) -> str:
        head = {
            "ToUserName": self._to,
            "FromUserName": sender,
            "CreateTime": str(int(time.time()) if at is None else at),
            "MsgType": kind,
        }
        agent = {"AgentID": self._agent_id} if self._agent_id else {}
        inside = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in {**head, **fields, **agent}.items())
        return f"<xml>{inside}{raw}</xml>"
