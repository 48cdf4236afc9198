"""What a training run publishes, by version.

batch          everybody's lists, in blocks of bounded memory
versions       what each training run made, and which one people are served
publication    publish, keep, roll back
erasures       keeps erased people out of every version
user_list      one user's list
model_file     the model as a file
version_files  the files of earlier versions
"""
