"""The judge: tests run in one kernel, and call what the student wrote in another.

judge     lend the student's names to a test cell, and take them back
session   the judge's side of the link     far       the student's side
proxy     what stands for an object of the student's
talk      questions and answers            failures  errors as they travel
link      frames over a socket             held      interrupts, kept from doing harm
wire      frames                           values    what is in them
arrays    tensors and arrays               names     whose name is whose, read from the cells
"""
