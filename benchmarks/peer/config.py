"""Settings of the peer, read once from the environment."""

import os
import secrets
from pathlib import Path


class Settings:
    """Security and storage settings; every `PEER_*` variable is optional."""

    def __init__(self) -> None:
        self.secret_key = os.getenv("PEER_SECRET_KEY") or secrets.token_hex(32)
        self.algorithm = "HS256"
        self.access_token_expire_minutes = 30
        self.bcrypt_rounds = int(os.getenv("PEER_BCRYPT_ROUNDS", "12"))
        self.data_dir = Path(os.getenv("PEER_DATA", "peer-data"))
        self.cors_origins = ["http://localhost:3000", "http://localhost:8000"]


settings = Settings()
