"""How people sign in, as the framework and its libraries are told; what may be given from outside is in `config.declared`."""

from datetime import timedelta

from config.declared import BASE_URL, LOCKOUT_FAILURES, LOCKOUT_MINUTES

SIGN_IN_BACKEND = "therapists.accounts.lockout.Passwords"
AUTHENTICATION_BACKENDS = ["therapists.accounts.lockout.Lockout", SIGN_IN_BACKEND]
PASSWORD_HASHERS = ["therapists.accounts.passwords.Argon2", "django.contrib.auth.hashers.PBKDF2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
     "OPTIONS": {"user_attributes": ("email", "full_name")}},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]  # fmt: skip

SESSION_ENGINE = "therapists.accounts.sessions"
SESSION_COOKIE_AGE = 14 * 24 * 3600

# Both together: whoever guesses from elsewhere locks nobody out, and who guesses at many accounts is counted for each.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_HANDLER = "axes.handlers.database.AxesDatabaseHandler"
AXES_FAILURE_LIMIT = LOCKOUT_FAILURES
AXES_COOLOFF_TIME = timedelta(minutes=LOCKOUT_MINUTES)
# Tries while locked neither prolong it nor are written down.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
# A password alone is no success where a second factor is owed: `therapists.accounts.factors` says when it is one.
AXES_RESET_ON_SUCCESS = False
# Neither logged nor kept.
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "code"]
AXES_USERNAME_CALLABLE = "therapists.accounts.lockout.account_of"
AXES_CLIENT_IP_CALLABLE = "interventions.origins.origin_of"
AXES_LOCKOUT_CALLABLE = "therapists.accounts.answers.locked"
# Who signed in when and from where is nobody's business.
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

# The libraries' own notes (codes that were used, letters that were asked for) are in PostgreSQL too: a Redis that is away
# may neither let a code be used twice nor keep anybody out.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "sign_in_notes",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}  # fmt: skip

HEADLESS_ONLY = True
HEADLESS_CLIENTS = ("app", "browser")
HEADLESS_FRONTEND_URLS = {"account_signup": BASE_URL, "account_reset_password": BASE_URL}
ACCOUNT_ADAPTER = "therapists.accounts.adapters.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_SIGNUP_FORM_CLASS = "therapists.accounts.forms.NewAccount"
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
# Codes and no links: they hold in the session alone that asked for them.
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
ACCOUNT_EMAIL_VERIFICATION_SUPPORTS_RESEND = True
ACCOUNT_PASSWORD_RESET_BY_CODE_ENABLED = True
ACCOUNT_PASSWORD_RESET_BY_CODE_TIMEOUT = 600
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = 600
# The lockout counts wrong passwords; this bounds wrong codes.
ACCOUNT_RATE_LIMITS = {"login_failed": "30/m/ip,10/5m/key"}

MFA_ADAPTER = "therapists.accounts.adapters.FactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Keepwell"
MFA_RECOVERY_CODES_SHOW_ONCE = True
# Accounts that staff made have never had to prove their address.
MFA_ALLOW_UNVERIFIED_EMAIL = True
