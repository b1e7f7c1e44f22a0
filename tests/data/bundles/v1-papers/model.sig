{
  "dsseEnvelope": {
    "payload": "eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEiLCJwcmVkaWNhdGUiOnsicmVzb3VyY2VzIjpbeyJhbGdvcml0aG0iOiJzaGEyNTYiLCJkaWdlc3QiOiI5NWM2ZDc3NWE0NWY2NTE0YTIxY2I0NmJlZWY3MGYzYTU2ZTViOWRkNGU1MjU5NWFjZjQ1MzcxNTllNTFhZWZmIiwibmFtZSI6IlJFQURNRS50eHQifSx7ImFsZ29yaXRobSI6InNoYTI1NiIsImRpZ2VzdCI6IjUxOWMyYjliMDYyMjdjZTAzNzJmNDNlYTViNWIwYTUyNjc3MGM3MzBkYjNkZWUyYWUwZmUxYmM5NDE5ZjhhYzkiLCJuYW1lIjoibWFuaWZlc3QuanNvbiJ9LHsiYWxnb3JpdGhtIjoic2hhMjU2IiwiZGlnZXN0IjoiMmRjNWUxNTZjYTQ4NjAwOTA4Yzk0M2ZkYTM5MTVlZmY1NDM5ZmI1ZTMwNzQ2NTdkYjc3M2U5ZjNjZmJkZjI1NiIsIm5hbWUiOiJzYW1wbGVzL2JpZy5iaW4ifV0sInNlcmlhbGl6YXRpb24iOnsiYWxsb3dfc3ltbGlua3MiOmZhbHNlLCJoYXNoX3R5cGUiOiJzaGEyNTYiLCJpZ25vcmVfcGF0aHMiOlsiLmdpdCIsIi5naXRhdHRyaWJ1dGVzIiwiLmdpdGh1YiIsIi5naXRpZ25vcmUiXSwibWV0aG9kIjoiZmlsZXMifX0sInByZWRpY2F0ZVR5cGUiOiJodHRwczovL21vZGVsX3NpZ25pbmcvc2lnbmF0dXJlL3YxLjAiLCJzdWJqZWN0IjpbeyJkaWdlc3QiOnsic2hhMjU2IjoiMTA0YjViMjViNzUyMThjNDQ3MWEzM2M0MTE1MDU2NjFlYTFkYzZjODhjYjQxMzAyMmNiOGIxMzI2ZDY2YzBhNSJ9LCJuYW1lIjoid2FyZC0xLjAuMCJ9XX0=",
    "payloadType": "application/vnd.in-toto+json",
    "signatures": [
      {
        "keyid": "f86c8243030c10c02ef5bfbcdfe0772bbaece4b1a852a48047bbb8bc5273e1c7",
        "sig": "MGUCMQCCeRvOTDXShcaBTpB8OtL0tOwYfepIxQuLRsvq6yh4Pwt5rY8MPdtbfWwGg0Ua8kwCMCDGjVq9dqgzyeZwQxskANJI3yFxbk38HWon1o2JI5DfZB9lPmb6zm2xsyCto5fD4g=="
      }
    ]
  },
  "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
  "verificationMaterial": {
    "publicKey": {
      "hint": "f256ee61e9553cdc291fdae3e8aeb1be0f58ce31771e920e65cd95c2fde2adc4"
    },
    "tlogEntries": []
  }
}
