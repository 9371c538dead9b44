"""The judge: tests run in one kernel, and call what the student wrote in another.

wire      values ↔ frames            arrays    tensors and arrays in them
failures  errors ↔ names and words   link      frames over a socket
talk      questions and answers      far       the student's side
proxy     what stands for the student's objects
judge     the judge's side           names     whose name is whose, read from the cells
"""
