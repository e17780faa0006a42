"""What the bodies of OBMd's API hold.  Unknown keys are ignored, as OBMd did."""

REGISTER = {
    'type': 'object',
    'required': ['type', 'info'],
    'properties': {
        'type': {'type': 'string', 'minLength': 1, 'maxLength': 255},
        'info': {'type': 'object', 'maxProperties': 64},
        'group': {'type': 'string', 'maxLength': 255, 'pattern': '^[^\\x00-\\x1f]*$'},
    },
}

POWER_CYCLE = {
    'type': ['object', 'null'],
    'properties': {'force': {'type': ['boolean', 'null']}},
}

BOOT_DEVICE = {
    'type': ['object', 'null'],
    'properties': {'bootdev': {'type': ['string', 'null'], 'maxLength': 255}},
}
