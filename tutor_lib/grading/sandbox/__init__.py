"""Kernels for code that nobody has read: each in a sandbox, forked from a warm template.

    owner (the grader)  ── control ──►  template, in bubblewrap, with torch imported
                                          └ supervisor, one for each kernel: watches and kills
                                              └ process 1 of the kernel's own namespaces
                                                  └ kernel

`sandbox` has Sandbox, `guest` has Guest and SandboxError, `provisioner` is what jupyter_client
calls, `doctor` tries what is enforced here. The rest is, from outside in: `bwrap` (what is seen
inside), `outer` (the process around bubblewrap), `template`, `supervisor` with `usage`, `room`
(a kernel's namespaces), `init`, `kernel` and `seccomp`. Where namespaces cannot be nested, a
kernel starts cold in a bubblewrap of its own: `outer` is then its supervisor, and `init` its
first process.
"""
