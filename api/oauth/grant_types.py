"""The names that token requests are made of."""

CLIENT_CREDENTIALS = "client_credentials"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
GRANTS = {  # as one types them -> in full
    "authorization_code": "authorization_code",
    "client_credentials": CLIENT_CREDENTIALS,
    "refresh_token": "refresh_token",
    "token-exchange": TOKEN_EXCHANGE,
}
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
USER_ID = "urn:penchant:token-type:user-id"  # the subject token is the shop's own id of a person
ANONYMOUS_ID = "urn:penchant:token-type:anonymous-id"  # ... of a visitor it does not know
