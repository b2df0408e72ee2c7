"""The names of grants and token types."""

AUTHORIZATION_CODE = "authorization_code"
REFRESH_TOKEN = "refresh_token"
CLIENT_CREDENTIALS = "client_credentials"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
GRANTS = {  # short name on the command line -> full name in a token request
    "authorization_code": AUTHORIZATION_CODE,
    "client_credentials": CLIENT_CREDENTIALS,
    "refresh_token": REFRESH_TOKEN,
    "token-exchange": TOKEN_EXCHANGE,
}
OF_CONFIDENTIAL_CLIENTS = frozenset({CLIENT_CREDENTIALS, TOKEN_EXCHANGE})
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
USER_ID = "urn:penchant:token-type:user-id"  # the subject token is the shop's id of a user
ANONYMOUS_ID = "urn:penchant:token-type:anonymous-id"  # the subject token is the shop's id of a guest
