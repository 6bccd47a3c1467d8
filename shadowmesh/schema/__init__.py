"""
Descriptors of our own services, as data.

`descriptors.binpb` holds everything under `proto/`, compiled by `make generate`. It is data and not generated
code, which is tied to one protobuf release and registers itself in the process-wide descriptor pool, where a
model server's own stubs already live. Here it goes into a pool nobody else sees, on any protobuf from 5 on.

- `descriptors` loads the file and makes message classes by full name;
- `messages` has the classes of the reference model API as attributes, for imports a type checker understands
  (`messages.pyi` is generated too);
- `config.json` is the JSON Schema of the configuration file, written by `make generate` as well; no code reads it;
- `inference` describes the methods of that API: full name, arity, request and response class.

Nothing here knows gRPC: a client or a server is made from `Method` by whoever needs one.
"""
