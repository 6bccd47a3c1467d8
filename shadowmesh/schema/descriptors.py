"""The compiled schema in a descriptor pool of its own."""

from functools import cache
from importlib.resources import files

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass


@cache
def pool() -> DescriptorPool:
    """Return the pool that holds everything under `proto/`, loaded on first use and never the default one."""
    compiled = descriptor_pb2.FileDescriptorSet.FromString(
        files("shadowmesh.schema").joinpath("descriptors.binpb").read_bytes()
    )
    private = DescriptorPool()
    # protoc writes a file after those it imports, which is the order the pool asks for.
    for file in compiled.file:
        private.AddSerializedFile(file.SerializeToString())
    return private


def message_class(full_name: str) -> type[Message]:
    """
    Return the class of a message of the schema; the same name always gives the same class.

    Raises:
        KeyError: the schema has no message of that name.
    """
    return GetMessageClass(pool().FindMessageTypeByName(full_name))
