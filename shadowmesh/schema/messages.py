"""
The messages and enums of `shadowmesh.v1`, as generated code would offer them.

A type checker reads `messages.pyi`, which `make generate` writes; this module makes the same names out of the
descriptors.
"""

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from shadowmesh.schema.descriptors import message_class, pool

DESCRIPTOR = pool().FindFileByName("shadowmesh/v1/inference.proto")

for _message in DESCRIPTOR.message_types_by_name.values():
    globals()[_message.name] = message_class(_message.full_name)
for _enum in DESCRIPTOR.enum_types_by_name.values():
    globals()[_enum.name] = EnumTypeWrapper(_enum)
    globals().update({value.name: value.number for value in _enum.values})
